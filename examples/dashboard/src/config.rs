//! Settings from a file, the environment and flags; the later wins.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use serde::Deserialize;

use argus_core::{Actor, Budget, HoldBounds, Usd};

use crate::guard::{Transport, User};

/// Shows what is wrong in a Kubernetes cluster, suggests fixes, and carries out those that you confirm.
#[derive(Debug, Parser)]
#[command(
    name = "dashboard",
    version,
    after_help = "Without --kubeconfig and --in-cluster it runs on a cluster in memory with broken apps, and may fix them.\n\
                  Every setting may stand in the file, as `listen: 127.0.0.1:8080`; a variable wins over the file, a flag over both."
)]
pub struct Settings {
    /// A file with settings, in YAML; also the only place for `users`, `budget` and `hold`.
    #[arg(long, value_name = "FILE", env = "ARGUS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen. Other addresses than the loopback need `users`, and HTTPS: --tls-cert, or a proxy in front.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ARGUS_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,
    /// A name under which browsers reach this host, besides the loopback's; needs `users`; can be given several times.
    #[arg(
        long = "host",
        value_name = "NAME",
        env = "ARGUS_HOSTS",
        value_delimiter = ','
    )]
    pub hosts: Vec<String>,
    /// The certificates of HTTPS, in PEM, the host's own first; with --tls-key.
    #[arg(
        long,
        value_name = "FILE",
        env = "ARGUS_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "ARGUS_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// A proxy in front speaks HTTPS with browsers; needs `users`.
    #[arg(long, env = "ARGUS_BEHIND_HTTPS")]
    pub behind_https: bool,
    /// The cluster of this kubeconfig file.
    #[arg(
        long,
        value_name = "FILE",
        env = "ARGUS_KUBECONFIG",
        conflicts_with = "in_cluster"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use.
    #[arg(long, env = "ARGUS_CONTEXT")]
    pub context: Option<String>,
    /// The cluster that this process runs in.
    #[arg(long, env = "ARGUS_IN_CLUSTER")]
    pub in_cluster: bool,
    /// A namespace that Argus may look at and change; can be given several times.
    #[arg(
        short,
        long = "namespace",
        value_name = "NAMESPACE",
        env = "ARGUS_NAMESPACES",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,
    /// Look at all namespaces at once, which is faster where there are many, and takes a ClusterRole to read them.
    #[arg(long, env = "ARGUS_ACROSS_NAMESPACES")]
    pub across_namespaces: bool,
    /// Look at nodes, volumes, classes and webhooks too, which takes a ClusterRole to read them.
    #[arg(long, env = "ARGUS_SEEING_CLUSTER")]
    pub seeing_cluster: bool,
    /// Read the last lines that a broken container logged, so that a model sees them; takes the right to read logs, which may hold
    /// anything.
    #[arg(long, env = "ARGUS_READING_LOGS")]
    pub reading_logs: bool,
    /// Let plans be carried out after somebody confirmed them; without, they are only suggested.
    #[arg(long, env = "ARGUS_REMEDIATION_ENABLED")]
    pub remediation_enabled: bool,
    /// Let plans of high risk be carried out too.
    #[arg(long, env = "ARGUS_ALLOW_HIGH_RISK")]
    pub allow_high_risk: bool,
    /// A folder with a policy pack of your own; can be given several times.
    #[arg(
        long = "pack",
        value_name = "FOLDER",
        env = "ARGUS_PACKS",
        value_delimiter = ','
    )]
    pub packs: Vec<PathBuf>,
    /// A file with an Ed25519 public key, in PEM: packs are taken only if one of these keys signed them, and their tests don't run; can
    /// be given several times.
    #[arg(
        long = "pack-key",
        value_name = "FILE",
        env = "ARGUS_PACK_KEYS",
        value_delimiter = ','
    )]
    pub pack_keys: Vec<PathBuf>,
    /// Let this language model write the plans instead of fixed rules; its key is read from ARGUS_MODEL_KEY.
    #[arg(long, value_name = "NAME", env = "ARGUS_MODEL")]
    pub model: Option<String>,
    /// The protocol of the model: openai (and whatever is compatible), openai-responses, anthropic, gemini, bedrock or ollama.
    #[arg(long, value_name = "WIRE", env = "ARGUS_MODEL_WIRE")]
    pub wire: Option<String>,
    /// Where the model is, such as `http://127.0.0.1:8000/v1/`, unless its provider's own place is meant.
    #[arg(long, value_name = "URL", env = "ARGUS_MODEL_ENDPOINT")]
    pub endpoint: Option<String>,
    /// What models cost: a file with LiteLLM's table of prices, in JSON. A budget of money takes it.
    #[arg(long, value_name = "FILE", env = "ARGUS_PRICES")]
    pub prices: Option<PathBuf>,
    /// The folder of the audit trail and the plans; a fresh temporary one for the cluster in memory.
    #[arg(long, value_name = "FOLDER", env = "ARGUS_DATA")]
    pub data: Option<PathBuf>,
    /// How many seconds there are between two looks at the cluster; 30 by default, 3 for the one in memory.
    #[arg(long, value_name = "SECONDS", env = "ARGUS_WATCH_INTERVAL", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch_interval: Option<u64>,
    /// What a plan, and all plans of a day, may cost; from the file.
    #[arg(skip)]
    pub budget: Option<Budget>,
    /// How long a fix is watched before it counts as one; from the file.
    #[arg(skip)]
    pub hold: Option<HoldBounds>,
    /// Print every setting with where it comes from, and do nothing else.
    #[arg(long)]
    pub print_config: bool,
    /// Who may ask; from the file.
    #[arg(skip)]
    pub users: Vec<User>,
    /// Where each setting comes from.
    #[arg(skip)]
    sources: Vec<(String, &'static str)>,
}

/// The file: every setting by the name of its flag, with `_`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    hosts: Option<Vec<String>>,
    behind_https: Option<bool>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    in_cluster: Option<bool>,
    namespaces: Option<Vec<String>>,
    across_namespaces: Option<bool>,
    seeing_cluster: Option<bool>,
    reading_logs: Option<bool>,
    remediation: Option<Remediation>,
    packs: Option<Vec<PathBuf>>,
    pack_keys: Option<Vec<PathBuf>>,
    model: Option<String>,
    wire: Option<String>,
    endpoint: Option<String>,
    prices: Option<PathBuf>,
    budget: Option<Budget>,
    hold: Option<HoldBounds>,
    data: Option<PathBuf>,
    watch_interval: Option<u64>,
    users: Vec<User>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Remediation {
    enabled: bool,
    allow_high_risk: bool,
}

impl Settings {
    /// From the arguments of a program, its environment, and the file that they name.
    ///
    /// # Errors
    /// What is wrong and where; also `--help` and `--version` come this way.
    pub fn read<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let mut settings = Self::from_arg_matches(&matches)?;
        let wrong = |problem: String| {
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, problem + "\n")
                .format(&mut Self::command())
        };
        let file = match &settings.config {
            Some(path) => File::read(path).map_err(wrong)?,
            None => File::default(),
        };
        settings.merge(file, &matches);
        settings.check().map_err(wrong)?;
        Ok(settings)
    }

    fn merge(&mut self, file: File, matches: &ArgMatches) {
        let mut sources = Vec::new();
        let mut from = |name: &str, in_file: bool| {
            let given = matches.value_source(name);
            let source = match given {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) => "environment",
                _ if in_file => "file",
                _ => "default",
            };
            sources.push((name.to_owned(), source));
            source == "file"
        };
        macro_rules! take {
            ($field:ident, $value:expr) => {
                let value = $value;
                if from(stringify!($field), value.is_some())
                    && let Some(value) = value
                {
                    self.$field = value;
                }
            };
        }
        take!(listen, file.listen);
        take!(hosts, file.hosts);
        take!(behind_https, file.behind_https);
        take!(tls_cert, file.tls_cert.map(Some));
        take!(tls_key, file.tls_key.map(Some));
        take!(kubeconfig, file.kubeconfig.map(Some));
        take!(context, file.context.map(Some));
        take!(in_cluster, file.in_cluster);
        take!(namespaces, file.namespaces);
        take!(across_namespaces, file.across_namespaces);
        take!(seeing_cluster, file.seeing_cluster);
        take!(reading_logs, file.reading_logs);
        let remediation = file.remediation.as_ref();
        take!(remediation_enabled, remediation.map(|given| given.enabled));
        take!(
            allow_high_risk,
            remediation.map(|given| given.allow_high_risk)
        );
        take!(packs, file.packs);
        take!(pack_keys, file.pack_keys);
        take!(model, file.model.map(Some));
        take!(wire, file.wire.map(Some));
        take!(endpoint, file.endpoint.map(Some));
        take!(prices, file.prices.map(Some));
        take!(data, file.data.map(Some));
        take!(watch_interval, file.watch_interval.map(Some));
        let of_file = |is_given| if is_given { "file" } else { "default" };
        sources.push(("budget".into(), of_file(file.budget.is_some())));
        sources.push(("hold".into(), of_file(file.hold.is_some())));
        (self.budget, self.hold, self.users) = (file.budget, file.hold, file.users);
        self.sources = sources;
    }

    fn check(&self) -> Result<(), String> {
        let real = self.kubeconfig.is_some() || self.in_cluster;
        if real && self.namespaces.is_empty() {
            return Err(
                "say which namespaces Argus may look at and change: --namespace shop".into(),
            );
        }
        if real && self.data.is_none() {
            return Err("say where the audit trail is to be kept: --data /var/lib/argus".into());
        }
        if self
            .watch_interval
            .is_some_and(|seconds| !(1..=3600).contains(&seconds))
        {
            return Err("watch_interval has to be between 1 and 3600 seconds".into());
        }
        let money = |budget: &Budget| budget.cost.is_some() || budget.cost_per_day.is_some();
        if self.budget.as_ref().is_some_and(money) && self.prices.is_none() && self.model.is_some()
        {
            return Err("a budget of money takes what the model costs: --prices FILE".into());
        }
        let outside = !self.listen.ip().is_loopback();
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("HTTPS takes both: tls_cert and tls_key".into());
        }
        if outside && (self.users.is_empty() || !self.speaks_https()) {
            return Err(format!(
                "{} can be reached by others: list `users` in the file of --config, and give it --tls-cert and --tls-key, or put a proxy in front that speaks HTTPS and say so with --behind-https",
                self.listen
            ));
        }
        self.check_users()
    }

    /// Checks that there are users where others than those of this machine may ask, and that each can be told from the rest.
    fn check_users(&self) -> Result<(), String> {
        let foreign = self.hosts.iter().find(|host| !is_loopback(host));
        let reached = match foreign {
            Some(host) => Some(format!("--host {host}")),
            None => self.behind_https.then(|| "--behind-https".to_owned()),
        };
        if let (Some(setting), true) = (reached, self.users.is_empty()) {
            return Err(format!(
                "{setting} says that others reach this host, and without users everybody who does is its admin: list `users` in the file of --config, or leave it away"
            ));
        }
        let mut names: Vec<&str> = self.users.iter().map(|user| user.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b);
        if let Some((name, _)) = twice {
            return Err(format!(
                "two users are called `{name}`: the audit trail has to tell them apart"
            ));
        }
        for user in &self.users {
            if let Err(error) = Actor::user(&user.name) {
                return Err(format!("the user `{}`: {error}", user.name.escape_debug()));
            }
            let digest = &user.token_sha256;
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!(
                    "the token of `{}` has to be its SHA-256, 64 hexadecimal digits: printf %s TOKEN | sha256sum",
                    user.name
                ));
            }
        }
        Ok(())
    }

    /// Whether browsers reach it by HTTPS.
    #[must_use]
    pub fn speaks_https(&self) -> bool {
        self.transport() != Transport::Http
    }

    /// The way from browsers to this host.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match (self.behind_https, &self.tls_cert) {
            (true, _) => Transport::Proxy,
            (false, Some(_)) => Transport::Https,
            (false, None) => Transport::Http,
        }
    }

    /// Every setting with where it comes from, as YAML with comments.
    #[must_use]
    pub fn printed(&self) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let path = |path: &Option<PathBuf>| {
            path.as_ref()
                .map_or("null".into(), |path| path.display().to_string())
        };
        let paths = |paths: &[PathBuf]| {
            let paths = paths.iter().map(|path| path.display().to_string());
            paths.collect()
        };
        let text = |text: &Option<String>| text.clone().unwrap_or("null".into());
        let mut printed = String::new();
        for (name, source) in &self.sources {
            let value = match name.as_str() {
                "listen" => self.listen.to_string(),
                "hosts" => list(self.hosts.clone()),
                "behind_https" => self.behind_https.to_string(),
                "tls_cert" => path(&self.tls_cert),
                "tls_key" => path(&self.tls_key),
                "kubeconfig" => path(&self.kubeconfig),
                "context" => text(&self.context),
                "in_cluster" => self.in_cluster.to_string(),
                "namespaces" => list(self.namespaces.clone()),
                "remediation_enabled" => self.remediation_enabled.to_string(),
                "allow_high_risk" => self.allow_high_risk.to_string(),
                "packs" => list(paths(&self.packs)),
                "pack_keys" => list(paths(&self.pack_keys)),
                "model" => text(&self.model),
                "wire" => text(&self.wire),
                "endpoint" => text(&self.endpoint),
                "across_namespaces" => self.across_namespaces.to_string(),
                "seeing_cluster" => self.seeing_cluster.to_string(),
                "reading_logs" => self.reading_logs.to_string(),
                "prices" => path(&self.prices),
                "budget" => self.budget.as_ref().map_or("null".into(), printed_budget),
                "hold" => self.hold.as_ref().map_or("null".into(), printed_hold),
                "data" => path(&self.data),
                _ => self
                    .watch_interval
                    .map_or("null".into(), |seconds| seconds.to_string()),
            };
            // Writing to a String can't fail.
            let _ = writeln!(printed, "{name}: {value} # {source}");
        }
        let users: Vec<String> = self.users.iter().map(|user| user.name.clone()).collect();
        let _ = writeln!(
            printed,
            "users: {} # {}",
            list(users),
            if self.users.is_empty() {
                "default"
            } else {
                "file"
            }
        );
        printed
    }
}

/// Whether only this machine is reached by that name.
fn is_loopback(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.parse();
    address.map_or_else(
        |_| host.eq_ignore_ascii_case("localhost"),
        |address| address.is_loopback(),
    )
}

fn printed_budget(budget: &Budget) -> String {
    let money =
        |limit: Option<Usd>| limit.map_or("null".into(), |usd| usd.as_dollars().to_string());
    format!(
        "{{attempts: {}, tokens: {}, seconds: {}, cost_usd: {}, tokens_per_day: {}, cost_usd_per_day: {}}}",
        budget.attempts,
        budget.tokens,
        budget.time.as_secs_f64(),
        money(budget.cost),
        budget
            .tokens_per_day
            .map_or("null".into(), |limit| limit.to_string()),
        money(budget.cost_per_day),
    )
}

fn printed_hold(hold: &HoldBounds) -> String {
    let (min, max) = (hold.min.as_secs_f64(), hold.max.as_secs_f64());
    format!("{{min_seconds: {min}, max_seconds: {max}}}")
}

impl File {
    fn read(path: &Path) -> Result<Self, String> {
        let unusable =
            |why: String| format!("the settings in `{}` can't be used: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        serde_saphyr::from_str(&text).map_err(|error| unusable(error.to_string()))
    }
}
