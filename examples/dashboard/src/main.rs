//! Serves the dashboard.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use argus_core::{
    Actor, FileAudit, FilePlans, GenAi, HoldBounds, Kube, LlmProvider, Playbook, Prices,
    Remediator, Scope,
};
use argus_policy::{PackKey, RegoEngine};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use dashboard::config::Settings;
use dashboard::demo::Demo;
use dashboard::guard::Guard;
use dashboard::{About, Host, Telling, app, demo};
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};

/// How long a plan that runs may go on after the program was told to end.
const LAST_WORDS: Duration = Duration::from_secs(330);
/// How long a fix of the cluster in memory is watched, whose apps fail within a second.
const DEMO_HOLD: HoldBounds = HoldBounds {
    min: Duration::from_secs(3),
    max: Duration::from_secs(10),
};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::read(std::env::args_os()) {
        Ok(settings) => settings,
        Err(error) => error.exit(),
    };
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("ARGUS_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", argus_core::Problem::causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The cluster, what it is called, and what has to live as long as it.
async fn cluster(settings: &Settings) -> Result<(Kube, String, Option<Demo>), Box<dyn Error>> {
    if let Some(file) = &settings.kubeconfig {
        let kube = Kube::from_kubeconfig(file, settings.context.clone()).await?;
        let name = settings.context.clone();
        return Ok((
            kube,
            name.unwrap_or_else(|| file.display().to_string()),
            None,
        ));
    }
    if settings.in_cluster {
        return Ok((Kube::in_cluster()?, "this cluster".into(), None));
    }
    let demo = demo::shop().await?;
    let kube = demo.kube.clone();
    Ok((kube, "a cluster in memory".into(), Some(demo)))
}

fn model(settings: &Settings) -> Result<(Arc<dyn LlmProvider>, String), Box<dyn Error>> {
    let Some(name) = &settings.model else {
        return Ok((Arc::new(Playbook::new()), "fixed rules, no model".into()));
    };
    let mut options = GenAi::model(name);
    if let Some(wire) = &settings.wire {
        options = options.wire(wire.parse()?);
    }
    if let Some(endpoint) = &settings.endpoint {
        options = options.endpoint(endpoint);
    }
    if let Ok(key) = std::env::var("ARGUS_MODEL_KEY") {
        options = options.key(key);
    }
    Ok((Arc::new(options.build()?), name.clone()))
}

fn prices(settings: &Settings) -> Result<Prices, Box<dyn Error>> {
    let Some(file) = &settings.prices else {
        return Ok(Prices::default());
    };
    let unusable = |why: String| format!("the prices in `{}` can't be used: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    Ok(Prices::from_json(&text).map_err(|error| unusable(error.to_string()))?)
}

fn policy(settings: &Settings) -> Result<RegoEngine, Box<dyn Error>> {
    let mut policy = RegoEngine::builtin()?;
    if !settings.pack_keys.is_empty() {
        let key = |file: &PathBuf| {
            let unusable =
                |why: String| format!("the key in `{}` can't be used: {why}", file.display());
            let pem = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
            PackKey::from_pem(&pem).map_err(|error| unusable(error.to_string()))
        };
        let keys: Result<Vec<PackKey>, String> = settings.pack_keys.iter().map(key).collect();
        policy = policy.trusting(keys?);
    }
    for pack in &settings.packs {
        policy = policy.with_pack(pack)?;
    }
    Ok(policy)
}

/// A new folder that nobody else can read or guess; it stays, so that the trail can be looked at afterwards.
fn temporary_folder() -> std::io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("argus-dashboard-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    Ok(builder.tempdir()?.keep())
}

async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    if settings.print_config {
        #[expect(clippy::print_stdout, reason = "what was asked for")]
        {
            print!("{}", settings.printed());
        }
        return Ok(());
    }
    let (mut kube, name, demo) = cluster(&settings).await?;
    if settings.across_namespaces {
        kube = kube.across_namespaces();
    }
    if settings.seeing_cluster {
        kube = kube.seeing_cluster();
    }
    let (llm, model) = model(&settings)?;
    let in_memory = demo.is_some();
    let namespaces = if in_memory && settings.namespaces.is_empty() {
        vec!["shop".to_owned()]
    } else {
        settings.namespaces.clone()
    };
    let folder = match &settings.data {
        Some(folder) => folder.clone(),
        None => temporary_folder()?,
    };
    let policy = policy(&settings)?;
    let audit = FileAudit::open(&folder).await?;
    let telling = Telling::default();
    let enabled = settings.remediation_enabled || in_memory;
    let remediator = Remediator::builder()
        .scope(Scope::namespaces(namespaces.clone())?)
        .settings(argus_core::Settings {
            enabled,
            allow_high_risk: settings.allow_high_risk,
        })
        .actor(Actor::automatic("dashboard")?)
        .llm(llm)
        .policy(policy)
        .cluster(kube.clone())
        .audit(audit.clone())
        .plans(FilePlans::open(folder.join("plans")).await?)
        .hold(settings.hold.unwrap_or(if in_memory {
            DEMO_HOLD
        } else {
            HoldBounds::default()
        }))
        .budget(settings.budget.unwrap_or_default())
        .prices(prices(&settings)?)
        .observe(telling.observer())
        .build()?;
    let about = About {
        cluster: name,
        namespaces,
        model,
        asks_model: settings.model.is_some(),
        reading_logs: settings.reading_logs,
        remediation_enabled: enabled,
        allow_high_risk: settings.allow_high_risk,
    };
    let interval =
        Duration::from_secs(
            settings
                .watch_interval
                .unwrap_or(if in_memory { 3 } else { 30 }),
        );
    let host = Host::new(
        about,
        remediator,
        kube,
        audit,
        folder.clone(),
        telling,
        interval,
    );

    let mut hosts = settings.hosts.clone();
    hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let guard = Guard::new(hosts, settings.users.clone(), settings.transport());

    let listener = std::net::TcpListener::bind(settings.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let app = app(host.clone(), guard).into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => {
            let unusable = |error| {
                format!(
                    "the certificate `{}` can't be used: {error}",
                    cert.display()
                )
            };
            Some(
                RustlsConfig::from_pem_file(cert, key)
                    .await
                    .map_err(unusable)?,
            )
        }
        _ => None,
    };
    if let Some(demo) = &demo {
        let cluster = demo.served.address();
        tracing::info!(%cluster, "the cluster in memory is there for kubectl too: --server=http://{cluster}");
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!(%address, folder = %folder.display(), "the dashboard is at {scheme}://{address}/");
    let background = host.clone();
    let watching = tokio::spawn(async move {
        background.resume().await;
        background.watch().await;
    });
    tokio::spawn(end_when_told(host, handle.clone()));
    match tls {
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
            patience(server.http_builder());
            server.serve(app).await?;
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle);
            patience(server.http_builder());
            server.serve(app).await?;
        }
    }
    watching.abort();
    Ok(())
}

/// Who doesn't say what they want in ten seconds isn't waited for.
fn patience<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>) {
    let limit = Duration::from_secs(10);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limit);
}

/// Ends the server when the program is told to, after a plan that runs; told a second time, at once, and what is cut off is taken
/// up at the next start.
async fn end_when_told(host: Host, handle: Handle<SocketAddr>) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    let told = async |terminate: &mut tokio::signal::unix::Signal| {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    told(&mut terminate).await;
    host.close();
    if host.running() > 0 {
        tracing::info!("a plan runs: ending after it; tell me again to end at once");
        let finished = async {
            while host.running() > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(LAST_WORDS, finished) => {}
            () = told(&mut terminate) => {}
        }
    }
    handle.graceful_shutdown(Some(Duration::from_secs(2)));
}
