//! Checks, shows and exports an audit trail, without the host that writes it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's output"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use argus_core::{
    AuditEvent, AuditKey, AuditQuery, AuditRecord, CSV_HEAD, FileAudit, IncidentId, InclusionProof,
    PlanId, PlanState, csv,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

/// Checks, shows and exports the audit trail of Argus.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all is well; 1 the trail or the proof is not what it should be; 2 something can't be read."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check every record of a trail.
    Verify {
        /// The trail's folder.
        folder: PathBuf,
        #[command(flatten)]
        key: KeyArguments,
        /// A checkpoint that was kept elsewhere; the newest in the folder by default.
        #[arg(long, value_name = "FILE", requires = "key")]
        checkpoint: Option<PathBuf>,
    },
    /// Print records, newest first.
    Show {
        /// The trail's folder.
        folder: PathBuf,
        #[command(flatten)]
        filter: Filter,
    },
    /// Print what the trail says about plans, newest first.
    Plans {
        /// The trail's folder.
        folder: PathBuf,
        #[command(flatten)]
        filter: Filter,
    },
    /// Print records as CSV or as JSON lines, oldest first.
    Export {
        /// The trail's folder.
        folder: PathBuf,
        #[command(flatten)]
        filter: Filter,
        /// The format.
        #[arg(long, value_enum, default_value = "csv")]
        format: Format,
    },
    /// Print new records as they come, until it is stopped.
    Tail {
        /// The trail's folder.
        folder: PathBuf,
        #[command(flatten)]
        filter: Filter,
    },
    /// Prove that a record is one of those that a checkpoint stands for: prints the proof as JSON.
    Prove {
        /// The trail's folder.
        folder: PathBuf,
        /// The record's number.
        sequence: u64,
        #[command(flatten)]
        key: KeyArguments,
        /// The checkpoint; the newest in the folder by default.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Print the JSON Schema of a record.
    Schema,
    /// Check a proof, without the trail.
    Check {
        /// The proof, as `prove` printed it.
        proof: PathBuf,
        #[command(flatten)]
        key: KeyArguments,
    },
}

#[derive(Args)]
struct KeyArguments {
    /// The public key that checkpoints are signed with (PEM, Ed25519).
    #[arg(long, value_name = "FILE", requires = "name")]
    key: Option<PathBuf>,
    /// The trail's name, as its checkpoints say.
    #[arg(long, requires = "key")]
    name: Option<String>,
}

#[derive(Args, Clone)]
struct Filter {
    /// Only of this incident.
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// Only of this plan.
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Only what this user or component asked for.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only what happened so, such as `step_applied` or `finished`.
    #[arg(long)]
    event: Option<String>,
    /// Only steps of this kind of action, such as `set_image`.
    #[arg(long, value_name = "KIND")]
    action: Option<String>,
    /// Only records with this text in their command or outcome.
    #[arg(long)]
    text: Option<String>,
    /// Only from this time on, such as `2026-11-25T08:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

type Failure = Box<dyn Error>;

/// How often `tail` looks.
const LOOK: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        // Nobody reads on.
        Err(error)
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut next = Some(error.as_ref() as &dyn Error);
            let mut text = String::from("error");
            while let Some(error) = next {
                text.push_str(&format!(": {error}"));
                next = error.source();
            }
            eprintln!("{text}");
            let damaged = error.downcast_ref::<argus_core::AuditError>();
            let wrong = damaged.is_some_and(|error| {
                use argus_core::AuditError::{Checkpoint, Damaged, Unsigned};
                matches!(error, Damaged { .. } | Checkpoint(_) | Unsigned)
            });
            ExitCode::from(if wrong { 1 } else { 2 })
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify {
            folder,
            key,
            checkpoint,
        } => match key.read()? {
            None => {
                let tail = FileAudit::verify(&folder)?;
                println!(
                    "{} records, one chain; without --key nobody can tell whether some are missing at the end",
                    tail.records
                );
                if tail.unproven > 0 {
                    println!(
                        "of those the first {} are not there: they are said to have been removed, and without --key nothing proves it",
                        tail.unproven
                    );
                }
            }
            Some(key) => {
                let text = checkpoint.map(|path| read(&path)).transpose()?;
                let tail = FileAudit::verify_signed(&folder, &key, text.as_deref())?;
                println!(
                    "{} records, one chain, and all that the checkpoint stands for",
                    tail.records
                );
            }
        },
        Command::Show { folder, filter } => {
            for record in FileAudit::read(&folder, &filter.query()?)? {
                print(&line(&record))?;
            }
        }
        Command::Plans { folder, filter } => plans(&folder, &filter)?,
        Command::Export {
            folder,
            filter,
            format,
        } => {
            let mut records = FileAudit::read(&folder, &filter.query()?)?;
            records.reverse();
            if matches!(format, Format::Csv) {
                print(CSV_HEAD)?;
            }
            for record in &records {
                match format {
                    Format::Csv => print(&csv(record))?,
                    Format::Jsonl => print(&(serde_json::to_string(record)? + "\n"))?,
                }
            }
        }
        Command::Tail { folder, filter } => {
            let newest = AuditQuery {
                limit: Some(1),
                ..AuditQuery::default()
            };
            let newest = FileAudit::read(&folder, &newest)?;
            let mut after = newest.first().map_or(0, |record| record.sequence);
            let filter = filter.query()?;
            loop {
                let query = AuditQuery {
                    after: Some(after),
                    ..AuditQuery::default()
                };
                for record in FileAudit::read(&folder, &query)?.iter().rev() {
                    after = record.sequence;
                    if filter.matches(record) {
                        print(&line(record))?;
                    }
                }
                std::thread::sleep(LOOK);
            }
        }
        Command::Prove {
            folder,
            sequence,
            key,
            checkpoint,
        } => {
            let key = key.read()?.ok_or("a proof needs --key and --name")?;
            let path = checkpoint.unwrap_or_else(|| folder.join("checkpoint"));
            let proof = FileAudit::prove(&folder, &key, &read(&path)?, sequence)?;
            println!("{}", serde_json::to_string_pretty(&proof)?);
        }
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&AuditRecord::schema())?);
        }
        Command::Check { proof, key } => {
            let key = key.read()?.ok_or("a proof needs --key and --name")?;
            let proof: InclusionProof = serde_json::from_str(&read(&proof)?)?;
            if !proof.holds(&key) {
                println!("the proof doesn't hold");
                return Ok(ExitCode::FAILURE);
            }
            let checkpoint = key.check(&proof.checkpoint)?;
            println!(
                "record {} is one of the {} that the checkpoint stands for:\n{}",
                proof.sequence,
                checkpoint.records(),
                proof.record
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the trail says about each plan that the filter finds.
fn plans(folder: &std::path::Path, filter: &Filter) -> Result<(), Failure> {
    let query = filter.query()?;
    let records = FileAudit::read(folder, &AuditQuery::default())?;
    let found = records.iter().filter(|record| query.matches(record));
    let found = found.take(query.limit.unwrap_or(usize::MAX));
    let mut seen = BTreeSet::new();
    let wanted: Vec<PlanId> = found
        .map(|record| &record.entry.plan_id)
        .filter(|plan| seen.insert(*plan))
        .cloned()
        .collect();
    let mut by_plan: BTreeMap<PlanId, Vec<AuditRecord>> = BTreeMap::new();
    for record in records.into_iter().rev() {
        let plan = by_plan.entry(record.entry.plan_id.clone());
        plan.or_default().push(record);
    }
    for plan in wanted {
        let state = by_plan
            .get(&plan)
            .and_then(|records| PlanState::of(records));
        if let Some(state) = state {
            print(&(serde_json::to_string(&state)? + "\n"))?;
        }
    }
    Ok(())
}

/// A record on one line, without anything that a terminal would act on.
fn line(record: &AuditRecord) -> String {
    let entry = &record.entry;
    let event = serde_json::to_value(entry.event).unwrap_or_default();
    let mut line = format!(
        "{:>6}  {}  {:<14}  {}  {}",
        record.sequence,
        record.timestamp.strftime("%Y-%m-%d %H:%M:%S"),
        event.as_str().unwrap_or_default(),
        entry.incident_id,
        entry.requested_by.name(),
    );
    for text in [&entry.command, &entry.outcome].into_iter().flatten() {
        line.push_str("  ");
        line.push_str(text);
    }
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.trim_end().to_owned() + "\n"
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("`{}` can't be read: {error}", path.display()).into())
}

impl KeyArguments {
    fn read(&self) -> Result<Option<AuditKey>, Failure> {
        let (Some(path), Some(name)) = (&self.key, &self.name) else {
            return Ok(None);
        };
        Ok(Some(AuditKey::from_pem(name, &read(path)?)?))
    }
}

impl Filter {
    fn query(&self) -> Result<AuditQuery, Failure> {
        let event = |name: &String| {
            let event = serde_json::from_value::<AuditEvent>(name.as_str().into());
            event.map_err(|error| format!("--event: {error}"))
        };
        Ok(AuditQuery {
            incident_id: self.incident.clone().map(IncidentId::new).transpose()?,
            plan_id: self.plan.clone().map(PlanId::try_from).transpose()?,
            actor: self.actor.clone(),
            event: self.event.as_ref().map(event).transpose()?,
            action: self.action.clone(),
            text: self.text.clone(),
            since: self.since,
            until: self.until,
            after: None,
            before: None,
            limit: self.limit,
        })
    }
}
