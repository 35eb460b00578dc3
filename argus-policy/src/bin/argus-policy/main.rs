//! The tool for pack authors: makes a pack, checks it, tests it, and shows what it says about a plan.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's output"
)]

mod case;
mod report;
mod skeleton;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use argus_core::{PolicyInput, Verdict};
use argus_policy::{Pack, PackKey, RegoEngine, sign};
use case::Case;
use clap::{Parser, Subcommand};

/// Makes, checks and tests policy packs for Argus.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all is well, or the plan is allowed; 1 a test fails, or the plan is denied; 2 something can't be read or evaluated; 3 the plan is allowed if a person approves."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a pack with one rule and its tests.
    New {
        /// Lower-case letters, digits and `_`.
        name: String,
        /// The folder to make; the pack's name by default.
        folder: Option<PathBuf>,
    },
    /// Compile packs and look for mistakes, with file and line.
    Check {
        /// The packs' folders.
        #[arg(required = true)]
        packs: Vec<PathBuf>,
        /// Refuse packs that this public key (PEM, Ed25519) did not sign.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Run the tests of packs, and see whether they notice when a rule falls silent.
    Test {
        /// The packs' folders.
        #[arg(required = true)]
        packs: Vec<PathBuf>,
        /// Write the results as JUnit XML too.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Print the lines of the packs that no test reaches.
        #[arg(long)]
        coverage: bool,
        /// Run again whenever a file of the packs changes.
        #[arg(long)]
        watch: bool,
    },
    /// Say what packs decide about a plan, as JSON.
    Eval(Case),
    /// Say what each rule has to say about a plan, for people.
    Explain(Case),
    /// Print the document that packs see as `input` for a plan, to keep it as `NAME_test.json`.
    Input(Case),
    /// Print the JSON Schema of that document.
    Schema,
    /// Sign packs with a private key (PEM, Ed25519): writes their `pack.sig`.
    Sign {
        /// The key, as `openssl genpkey -algorithm ed25519` makes it.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The packs' folders.
        #[arg(required = true)]
        packs: Vec<PathBuf>,
    },
}

type Failure = Box<dyn Error>;

const DENIED: u8 = 1;
const FAILED: u8 = 2;
const NEEDS_APPROVAL: u8 = 3;
/// How often `--watch` looks.
const LOOK: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            print_error(error.as_ref());
            ExitCode::from(FAILED)
        }
    }
}

fn print_error(error: &dyn Error) {
    let mut next = Some(error);
    let mut text = String::from("error");
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    eprintln!("{text}");
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::New { name, folder } => {
            let folder = folder.unwrap_or_else(|| PathBuf::from(&name));
            skeleton::write(&name, &folder)?;
            println!(
                "made {0}: edit {0}/{name}.rego, then `argus-policy test {0}`",
                folder.display()
            );
        }
        Command::Check { packs, key } => {
            let key = key.map(|key| Ok::<_, Failure>(PackKey::from_pem(&read(&key)?)?));
            let trusting = match key.transpose()? {
                None => None,
                Some(key) => Some(RegoEngine::builtin()?.trusting([key])),
            };
            for folder in &packs {
                let pack = Pack::load(folder)?;
                if let Some(engine) = &trusting {
                    engine.clone().with_pack(folder)?;
                }
                println!("{}: fine, revision {}", pack.name(), pack.revision());
            }
        }
        Command::Test {
            packs,
            junit,
            coverage,
            watch: false,
        } => return report::test(&packs, junit.as_deref(), coverage),
        Command::Test {
            packs,
            junit,
            coverage,
            watch: true,
        } => loop {
            let seen = state(&packs);
            if let Err(error) = report::test(&packs, junit.as_deref(), coverage) {
                print_error(error.as_ref());
            }
            println!("\nwaiting for a change, stop with Ctrl-C");
            while state(&packs) == seen {
                std::thread::sleep(LOOK);
            }
        },
        Command::Eval(case) => {
            let (evaluation, _) = case.evaluate()?;
            println!("{}", serde_json::to_string_pretty(&evaluation)?);
            return Ok(code(evaluation.verdict));
        }
        Command::Explain(case) => {
            let (evaluation, engine) = case.evaluate()?;
            report::explain(&evaluation, &engine);
            return Ok(code(evaluation.verdict));
        }
        Command::Input(case) => {
            let (_, input) = case.input()?;
            println!("{}", serde_json::to_string_pretty(&input)?);
        }
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&PolicyInput::schema())?);
        }
        Command::Sign { key, packs } => {
            let key = read(&key)?;
            for folder in &packs {
                sign(folder, &key)?;
                println!("signed {}", folder.display());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Allow => ExitCode::SUCCESS,
        Verdict::Deny => ExitCode::from(DENIED),
        Verdict::RequireApproval => ExitCode::from(NEEDS_APPROVAL),
    }
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("`{}` can't be read: {error}", path.display()).into())
}

/// When each file of the packs was changed last.
fn state(packs: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>)> {
    let files = packs.iter().flat_map(std::fs::read_dir).flatten().flatten();
    let mut files: Vec<_> = files
        .map(|entry| {
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            (entry.path(), changed.ok())
        })
        .collect();
    files.sort();
    files
}
