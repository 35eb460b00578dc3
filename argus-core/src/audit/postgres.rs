//! The audit sink of several hosts: one chain in PostgreSQL, which also keeps two of them from executing one plan.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, QueryBuilder, SqlSafeStr, raw_sql,
};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::chain::{Chain, Place, Time, Waiting, damaged};
use super::checkpoint::{AuditKey, AuditSigner, Checkpoint, Signed};
use super::group::{Group, Queue, again, append};
use super::query::{AuditQuery, Found};
use super::{AuditEntry, AuditError, AuditEvent, AuditRecord, AuditSink, Tail};

/// How long a connection may take, and how long a statement.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to make what waits durable, with a wait for other hosts.
const COMMIT: Duration = Duration::from_secs(60);
/// How many records are fetched at once.
const PAGE: i64 = 500;
/// The advisory lock of whoever writes the next records.
const TAIL_LOCK: i32 = 0x6172_6775;
/// With a host's number: the advisory lock that a host holds for as long as it lives.
const HOST_LOCK: i32 = TAIL_LOCK + 1;
/// What errors call the trail.
const PLACE: &str = "argus_records";

/// How a [`PostgresAudit`] is kept.
#[derive(Clone, Default)]
pub struct PostgresAuditOptions {
    signer: Option<AuditSigner>,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn(&Checkpoint) + Send + Sync>;

impl PostgresAuditOptions {
    /// Signs a checkpoint after each plan's end, and when the host asks; all hosts need the same key.
    #[must_use]
    pub fn signed_by(mut self, signer: AuditSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Called with each checkpoint, to keep it elsewhere. It runs where records are written: hand it on, don't wait.
    #[must_use]
    pub fn on_checkpoint(mut self, hook: impl Fn(&Checkpoint) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Opens the trail in the database that `url` names (`postgres://user@host/database`, or with
    /// `?host=/folder/of/the/socket`), checking the whole chain.
    ///
    /// # Errors
    /// [`AuditError`] for a database that can't be used, or a damaged trail.
    pub async fn open(self, url: &str) -> Result<PostgresAudit, AuditError> {
        let options = connect_options(url)?;
        let mut connection = connect(&options).await?;
        let host: i32 = sqlx::query_scalar("SELECT nextval('argus_hosts')::integer")
            .fetch_one(&mut connection)
            .await
            .map_err(failed("opened"))?;
        // Held by this connection, the one that records are written by: who can't write is not alive.
        sqlx::query("SELECT pg_advisory_lock($1, $2)")
            .bind(HOST_LOCK)
            .bind(host)
            .execute(&mut connection)
            .await
            .map_err(failed("opened"))?;
        let signed = match &self.signer {
            None => None,
            Some(signer) => newest_checkpoint(&mut connection, &signer.key()).await?,
        };
        let mut chain = Chain::new(self.signer.is_some());
        let mut last = None;
        let mut held = Signed::to(signed.as_ref(), &chain);
        follow(&mut connection, &mut chain, &mut last, |chain| {
            held.look(chain);
        })
        .await?;
        held.holds(&chain)?;
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(CONNECT)
            .connect_lazy_with(options);
        Ok(PostgresAudit(Arc::new(Shared {
            queue: Queue::default(),
            writer: Mutex::new(Writer {
                connection,
                host,
                chain,
                last,
                poisoned: false,
            }),
            runtime: Handle::current(),
            options: self,
            pool,
            host,
        })))
    }
}

/// A trail in PostgreSQL that several hosts write.
///
/// # Guarantees
/// `append` returns after the commit, with `synchronous_commit` on whatever the server's default is; what waits meanwhile is
/// committed together. All hosts write one chain, each checks what the others wrote before it goes on. A plan is executed by one
/// host: records of an execution by another are refused with [`AuditError::Held`], until the connection of the first is gone and
/// the plan is resumed elsewhere; from then on the first can't write any for it. The tables only grow.
///
/// # Example
/// ```no_run
/// # async fn start() -> Result<(), argus_core::AuditError> {
/// use argus_core::PostgresAudit;
/// // Once, as the owner of the database: makes the tables, and lets the role `argus` read and insert, no more.
/// PostgresAudit::migrate("postgres://owner@db.internal/argus", "argus").await?;
/// // Every host:
/// let audit = PostgresAudit::open("postgres://argus@db.internal/argus").await?;
/// let plans = audit.plans();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PostgresAudit(Arc<Shared>);

impl PostgresAudit {
    /// Opens the trail in the database that `url` names with the default options, checking the whole chain.
    ///
    /// # Errors
    /// [`AuditError`] for a database that can't be used, or a damaged trail.
    pub async fn open(url: &str) -> Result<Self, AuditError> {
        Self::options().open(url).await
    }

    /// The default options, to be changed.
    #[must_use]
    pub fn options() -> PostgresAuditOptions {
        PostgresAuditOptions::default()
    }

    /// Makes the tables, or brings them up to date, as their owner; and lets `role`, which has to be there, read and insert.
    ///
    /// # Errors
    /// [`AuditError::Database`] when that isn't possible.
    pub async fn migrate(owner_url: &str, role: &str) -> Result<(), AuditError> {
        let mut connection = connect(&connect_options(owner_url)?).await?;
        let mut migrator = Migrator::with_migrations(vec![Migration::new(
            1,
            "trail and plans".into(),
            MigrationType::Simple,
            include_str!("postgres/schema.sql").into_sql_str(),
            false,
        )]);
        migrator.dangerous_set_table_name("argus_migrations");
        // Its `run` makes futures that can't be sent to another thread.
        migrator
            .run_direct(None, &mut connection, false)
            .await
            .map_err(failed("migrated"))?;
        let grants: String = sqlx::query_scalar(
            "SELECT format('GRANT SELECT, INSERT ON argus_records, argus_checkpoints, argus_claims, argus_plans TO %1$I; \
             GRANT USAGE ON SEQUENCE argus_hosts TO %1$I', $1)",
        )
        .bind(role)
        .fetch_one(&mut connection)
        .await
        .map_err(failed("migrated"))?;
        raw_sql(AssertSqlSafe(grants))
            .execute(&mut connection)
            .await
            .map_err(failed("migrated"))?;
        Ok(())
    }

    pub(crate) fn pool(&self) -> PgPool {
        self.0.pool.clone()
    }

    pub(crate) fn host(&self) -> i32 {
        self.0.host
    }

    /// Signs what the trail has now.
    ///
    /// # Errors
    /// [`AuditError::Unsigned`] without a key, [`AuditError`] if it can't be kept.
    pub async fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        let shared = &self.0;
        let mut writer = shared.writer.lock().await;
        let Writer {
            connection,
            chain,
            last,
            ..
        } = &mut *writer;
        follow(connection, chain, last, |_| ()).await?;
        shared.sign(connection, chain).await
    }

    /// Checks every record of the trail, without a key: what was changed, taken out, put in or moved is found, a trail that ends too
    /// early is not.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] names the first bad record.
    pub async fn verify(url: &str) -> Result<Tail, AuditError> {
        verify(&mut connect(&connect_options(url)?).await?, None).await
    }

    /// The same with a key, and a checkpoint that was kept elsewhere or, without one, the newest in the database: a trail that ends too
    /// early is found too.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] names the first bad or missing record, [`AuditError::Checkpoint`] for a checkpoint that the key didn't
    /// sign, [`AuditError::Unsigned`] where there is none.
    pub async fn verify_signed(
        url: &str,
        key: &AuditKey,
        checkpoint: Option<&str>,
    ) -> Result<Tail, AuditError> {
        let mut connection = connect(&connect_options(url)?).await?;
        let signed = match checkpoint {
            Some(text) => key.check(text).map_err(AuditError::Checkpoint)?,
            None => newest_checkpoint(&mut connection, key)
                .await?
                .ok_or(AuditError::Unsigned)?,
        };
        verify(&mut connection, Some(&signed)).await
    }
}

#[async_trait]
impl AuditSink for PostgresAudit {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        append(&self.0, entry).await
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        let mut records = Vec::new();
        let mut found = Found::new(query, |record| {
            records.push(record);
            true
        });
        let mut before = query.before.map_or(i64::MAX, number);
        loop {
            let mut select = QueryBuilder::<Postgres>::new(
                "SELECT sequence, record FROM argus_records WHERE sequence < ",
            );
            select.push_bind(before);
            if let Some(after) = query.after {
                select.push(" AND sequence > ").push_bind(number(after));
            }
            if let Some(plan) = &query.plan_id {
                select.push(" AND plan_id = ").push_bind(plan.as_str());
            }
            if let Some(incident) = &query.incident_id {
                select
                    .push(" AND incident_id = ")
                    .push_bind(incident.as_str());
            }
            if let Some(event) = query.event {
                let event = serde_json::to_value(event).unwrap_or_default();
                let event = event.as_str().map(str::to_owned);
                select.push(" AND event = ").push_bind(event);
            }
            let rows: Vec<(i64, String)> = select
                .push(" ORDER BY sequence DESC LIMIT ")
                .push_bind(PAGE)
                .build_query_as()
                .fetch_all(&self.0.pool)
                .await
                .map_err(failed("read"))?;
            for (sequence, record) in &rows {
                before = *sequence;
                if !found.add(parse(*sequence, record)?) {
                    return Ok(records);
                }
            }
            if (rows.len() as i64) < PAGE {
                return Ok(records);
            }
        }
    }
}

struct Shared {
    queue: Queue,
    writer: Mutex<Writer>,
    runtime: Handle,
    options: PostgresAuditOptions,
    pool: PgPool,
    host: i32,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}, {:?}", self.host, self.queue)
    }
}

struct Writer {
    connection: PgConnection,
    host: i32,
    chain: Chain,
    last: Option<Timestamp>,
    poisoned: bool,
}

impl Group for Shared {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn write(&self, entries: Vec<Waiting>) -> Vec<Result<Place, AuditError>> {
        self.runtime.block_on(async {
            let mut writer = self.writer.lock().await;
            if writer.poisoned {
                return entries.iter().map(|_| Err(AuditError::Poisoned)).collect();
            }
            // Whatever fails from here on, the end of the trail is unknown: no more records until it was opened again.
            writer.poisoned = true;
            let written = tokio::time::timeout(COMMIT, writer.append(&entries));
            match written.await.unwrap_or_else(|_| Err(late("written"))) {
                Err(error) => entries.iter().map(|_| Err(again(&error))).collect(),
                Ok(places) => {
                    writer.poisoned = false;
                    self.sign_after(&mut writer, &entries).await;
                    places
                }
            }
        })
    }
}

impl Shared {
    /// A checkpoint that can't be kept takes nothing away from the records.
    async fn sign_after(&self, writer: &mut Writer, entries: &[Waiting]) {
        let ends = |waiting: &Waiting| waiting.entry.event == AuditEvent::Finished;
        if self.options.signer.is_none() || !entries.iter().any(ends) {
            return;
        }
        if let Err(error) = self.sign(&mut writer.connection, &writer.chain).await {
            tracing::warn!(%error, "no checkpoint of the audit trail could be kept");
        }
    }

    async fn sign(
        &self,
        connection: &mut PgConnection,
        chain: &Chain,
    ) -> Result<Checkpoint, AuditError> {
        let signer = self.options.signer.as_ref().ok_or(AuditError::Unsigned)?;
        let checkpoint = signer.sign(chain.tree.as_ref().ok_or(AuditError::Unsigned)?);
        sqlx::query("INSERT INTO argus_checkpoints (checkpoint) VALUES ($1)")
            .bind(checkpoint.to_string())
            .execute(connection)
            .await
            .map_err(failed("signed"))?;
        if let Some(hook) = &self.options.hook {
            hook(&checkpoint);
        }
        Ok(checkpoint)
    }
}

impl Writer {
    /// Makes entries durable, all of them by one commit, but those that another host's plan forbids.
    async fn append(
        &mut self,
        entries: &[Waiting],
    ) -> Result<Vec<Result<Place, AuditError>>, AuditError> {
        let failed = failed("written");
        let mut transaction = self.connection.begin().await.map_err(failed)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1, 0)")
            .bind(TAIL_LOCK)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let (mut chain, mut last) = (self.chain.clone(), self.last);
        follow(&mut transaction, &mut chain, &mut last, |_| ()).await?;
        let mut claims = Claims::of(&mut transaction, self.host, entries).await?;
        let time = Time::after(last);
        let (mut places, mut sequences, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in entries {
            if let Err(error) = claims.take(&mut transaction, &waiting.entry).await? {
                places.push(Err(error));
                continue;
            }
            let mut bytes = Vec::new();
            places.push(Ok(chain.write(waiting, &time, &mut bytes)));
            sequences.push(number(chain.link.records));
            // Made of what serde wrote, so it is UTF-8.
            records.push(String::from_utf8(bytes).unwrap_or_default());
        }
        sqlx::query(
            "INSERT INTO argus_records (sequence, record) SELECT * FROM UNNEST($1::bigint[], $2::text[])",
        )
        .bind(&sequences)
        .bind(&records)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        (self.chain, self.last) = (chain, Some(time.time));
        Ok(places)
    }
}

/// Which host executes each of some plans.
struct Claims {
    own: i32,
    hosts: BTreeMap<String, Option<i32>>,
}

impl Claims {
    async fn of(
        connection: &mut PgConnection,
        own: i32,
        entries: &[Waiting],
    ) -> Result<Self, AuditError> {
        let executes = |waiting: &&Waiting| executes(waiting.entry.event);
        let plans: Vec<&str> = entries
            .iter()
            .filter(executes)
            .map(|waiting| waiting.entry.plan_id.as_str())
            .collect();
        let hosts: Vec<(String, Option<i32>)> = if plans.is_empty() {
            Vec::new()
        } else {
            sqlx::query_as(
                "SELECT DISTINCT ON (plan_id) plan_id, host FROM argus_claims WHERE plan_id = ANY($1) \
                 ORDER BY plan_id, number DESC",
            )
            .bind(plans)
            .fetch_all(connection)
            .await
            .map_err(failed("written"))?
        };
        Ok(Self {
            own,
            hosts: hosts.into_iter().collect(),
        })
    }

    /// Takes a plan where an execution begins or is taken up, and lets go of it at its end; the inner error is that it is another
    /// host's.
    async fn take(
        &mut self,
        connection: &mut PgConnection,
        entry: &AuditEntry,
    ) -> Result<Result<(), AuditError>, AuditError> {
        if !executes(entry.event) {
            return Ok(Ok(()));
        }
        let plan = entry.plan_id.as_str();
        // Whoever takes it up read the trail a moment ago; its end may have come since.
        if entry.event == AuditEvent::Resumed && self.hosts.get(plan) == Some(&None) {
            return Ok(Err(AuditError::Held(entry.plan_id.clone())));
        }
        let begins = matches!(
            entry.event,
            AuditEvent::Approved | AuditEvent::Resumed | AuditEvent::UndoAsked
        );
        let other = self.hosts.get(plan).copied().flatten();
        if let Some(host) = other.filter(|host| *host != self.own)
            && (!begins || is_alive(connection, host).await?)
        {
            return Ok(Err(AuditError::Held(entry.plan_id.clone())));
        }
        let host = match entry.event {
            AuditEvent::Finished => None,
            _ if begins => Some(self.own),
            _ => return Ok(Ok(())),
        };
        sqlx::query("INSERT INTO argus_claims (plan_id, host, is_approval) VALUES ($1, $2, $3)")
            .bind(plan)
            .bind(host)
            .bind(entry.event == AuditEvent::Approved)
            .execute(connection)
            .await
            .map_err(failed("written"))?;
        self.hosts.insert(plan.to_owned(), host);
        Ok(Ok(()))
    }
}

/// Whether a record belongs to an execution.
fn executes(event: AuditEvent) -> bool {
    use AuditEvent::{Asked, Denied, DryRun, Permitted, Suggested};
    !matches!(event, Asked | Suggested | Permitted | Denied | DryRun)
}

/// Whether a host still has the connection by which it writes.
async fn is_alive(connection: &mut PgConnection, host: i32) -> Result<bool, AuditError> {
    let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, $2)")
        .bind(HOST_LOCK)
        .bind(host)
        .fetch_one(connection)
        .await
        .map_err(failed("written"))?;
    Ok(!free)
}

/// Follows the chain over what was written since; `each` sees it after every record.
async fn follow(
    connection: &mut PgConnection,
    chain: &mut Chain,
    last: &mut Option<Timestamp>,
    mut each: impl FnMut(&Chain),
) -> Result<(), AuditError> {
    let mut rows: Vec<(i64, String)> = Vec::new();
    loop {
        let newer: Vec<(i64, String)> = sqlx::query_as(
            "SELECT sequence, record FROM argus_records WHERE sequence >= $1 ORDER BY sequence LIMIT $2",
        )
        // The last one once more: if it isn't there, the end was cut off meanwhile.
        .bind(number(chain.link.records.max(1)))
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed("read"))?;
        let known = usize::from(chain.link.records > 0);
        if newer.len() < known {
            let problem = "it was there when this host looked last, and is gone";
            return Err(damaged(PLACE, chain.link.records, problem));
        }
        for (_, record) in newer.iter().skip(known) {
            chain.follow(PLACE, record.as_bytes())?;
            each(chain);
        }
        let whole = (newer.len() as i64) < PAGE;
        if newer.len() > known {
            rows = newer;
        }
        if whole {
            break;
        }
    }
    if let Some((sequence, record)) = rows.last() {
        *last = Some(parse(*sequence, record)?.timestamp);
    }
    Ok(())
}

async fn verify(
    connection: &mut PgConnection,
    signed: Option<&Checkpoint>,
) -> Result<Tail, AuditError> {
    let mut chain = Chain::new(signed.is_some());
    let mut held = Signed::to(signed, &chain);
    follow(connection, &mut chain, &mut None, |chain| held.look(chain)).await?;
    held.holds(&chain)?;
    Ok(chain.link.tail())
}

async fn newest_checkpoint(
    connection: &mut PgConnection,
    key: &AuditKey,
) -> Result<Option<Checkpoint>, AuditError> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT checkpoint FROM argus_checkpoints ORDER BY number DESC LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(failed("read"))?;
    let signed = text.map(|text| key.check(&text));
    signed.transpose().map_err(AuditError::Checkpoint)
}

fn connect_options(url: &str) -> Result<PgConnectOptions, AuditError> {
    let options = PgConnectOptions::from_str(url).map_err(failed("opened"))?;
    Ok(options.application_name("argus").options([
        ("synchronous_commit", "on"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "60s"),
        // A host that is cut off is gone for the others after a minute.
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
    ]))
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, AuditError> {
    let connection = tokio::time::timeout(CONNECT, PgConnection::connect_with(options)).await;
    connection
        .map_err(|_| late("opened"))?
        .map_err(failed("opened"))
}

fn parse(sequence: i64, record: &str) -> Result<AuditRecord, AuditError> {
    serde_json::from_str(record)
        .map_err(|error| damaged(PLACE, sequence.unsigned_abs(), error.to_string()))
}

/// A record's number as PostgreSQL has it.
fn number(sequence: u64) -> i64 {
    sequence.try_into().unwrap_or(i64::MAX)
}

fn failed<E>(verb: &'static str) -> impl Fn(E) -> AuditError + Copy
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| AuditError::Database {
        verb,
        source: Box::new(source),
    }
}

fn late(verb: &'static str) -> AuditError {
    failed(verb)(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
