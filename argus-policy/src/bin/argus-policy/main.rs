//! The tool for pack authors: makes a pack, checks it, tests it, and shows what it says about a plan.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's output"
)]

mod skeleton;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argus_core::{
    Completion, Evaluation, IncidentId, Plan, PolicyEngine, PolicyInput, Scope, Settings, Verdict,
    floor,
};
use argus_policy::{Pack, RegoEngine, Suite};
use clap::{Args, Parser, Subcommand};

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
    },
    /// Run the tests of packs.
    Test {
        /// The packs' folders.
        #[arg(required = true)]
        packs: Vec<PathBuf>,
        /// Write the results as JUnit XML too.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Say what packs decide about a plan, as JSON.
    Eval(Case),
    /// Say what each rule has to say about a plan, for people.
    Explain(Case),
    /// Print the document that packs see as `input` for a plan, to keep it as `NAME_test.json`.
    Input(Case),
    /// Print the JSON Schema of that document.
    Schema,
}

#[derive(Args)]
struct Case {
    /// The plan: what a model answered (summary, steps, risk_level, risk_reason, rollback_steps), or a plan that Argus wrote.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// A namespace that Argus may change; can be given several times.
    #[arg(short, long = "namespace", value_name = "NAMESPACE", required = true)]
    namespaces: Vec<String>,
    /// As a host with `remediation.allow_high_risk`.
    #[arg(long)]
    allow_high_risk: bool,
    /// The packs' folders, besides the built-in ones.
    packs: Vec<PathBuf>,
}

type Failure = Box<dyn Error>;

const DENIED: u8 = 1;
const FAILED: u8 = 2;
const NEEDS_APPROVAL: u8 = 3;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let mut next = Some(error.as_ref() as &dyn Error);
            let mut text = String::from("error");
            while let Some(error) = next {
                text.push_str(&format!(": {error}"));
                next = error.source();
            }
            eprintln!("{text}");
            ExitCode::from(FAILED)
        }
    }
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
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { packs } => {
            for folder in &packs {
                let pack = Pack::load(folder)?;
                println!("{}: fine, revision {}", pack.name(), pack.revision());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { packs, junit } => test(&packs, junit.as_deref()),
        Command::Eval(case) => {
            let evaluation = case.evaluate()?;
            println!("{}", serde_json::to_string_pretty(&evaluation)?);
            Ok(code(&evaluation))
        }
        Command::Explain(case) => {
            let evaluation = case.evaluate()?;
            explain(&evaluation);
            Ok(code(&evaluation))
        }
        Command::Input(case) => {
            let (_, input) = case.input()?;
            println!("{}", serde_json::to_string_pretty(&input)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&PolicyInput::schema())?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn test(packs: &[PathBuf], junit: Option<&Path>) -> Result<ExitCode, Failure> {
    let mut suites = Vec::new();
    for folder in packs {
        let suite = Suite::run(folder)?;
        for test in &suite.tests {
            match &test.failure {
                None => println!("PASS {} ({})", test.name, test.place),
                Some(why) => println!("FAIL {} ({}): {why}", test.name, test.place),
            }
        }
        for rule in &suite.untested {
            println!(
                "FAIL no test of {} names the rule `{rule}`",
                folder.display()
            );
        }
        if suite.tests.is_empty() {
            println!("FAIL {} has no tests", folder.display());
        }
        suites.push((folder, suite));
    }
    if let Some(file) = junit {
        std::fs::write(file, xml(&suites))?;
    }
    let passed = suites.iter().all(|(_, suite)| suite.passed());
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn xml(suites: &[(&PathBuf, Suite)]) -> String {
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        text.replace('>', "&gt;").replace('"', "&quot;")
    };
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (folder, suite) in suites {
        let failures = suite
            .tests
            .iter()
            .filter(|test| test.failure.is_some())
            .count()
            + suite.untested.len();
        text.push_str(&format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">\n",
            escape(&folder.display().to_string()),
            suite.tests.len() + suite.untested.len(),
        ));
        let tests = suite
            .tests
            .iter()
            .map(|test| (test.name.clone(), test.failure.clone()));
        let untested = suite
            .untested
            .iter()
            .map(|rule| (format!("rule {rule}"), Some("no test names it".to_owned())));
        for (name, failure) in tests.chain(untested) {
            let failure = failure.map(|why| format!("<failure message=\"{}\"/>", escape(&why)));
            text.push_str(&format!(
                "<testcase name=\"{}\">{}</testcase>\n",
                escape(&name),
                failure.unwrap_or_default()
            ));
        }
        text.push_str("</testsuite>\n");
    }
    text + "</testsuites>\n"
}

impl Case {
    fn plan(&self) -> Result<Plan, Failure> {
        let text = std::fs::read_to_string(&self.plan).map_err(|error| {
            format!("the plan `{}` can't be read: {error}", self.plan.display())
        })?;
        if let Ok(plan) = serde_json::from_str(&text) {
            return Ok(plan);
        }
        let completion = Completion::new(text, "the author of the test");
        Ok(Plan::parse(&completion, &IncidentId::new("INC-0")?)?)
    }

    fn input(&self) -> Result<(Plan, PolicyInput), Failure> {
        let plan = self.plan()?;
        let (scope, settings) = (self.scope()?, self.settings());
        let input = PolicyInput::of_plan(&plan, &scope, settings);
        Ok((plan, input))
    }

    fn scope(&self) -> Result<Scope, Failure> {
        Ok(Scope::namespaces(
            self.namespaces.iter().map(String::as_str),
        )?)
    }

    fn settings(&self) -> Settings {
        Settings {
            enabled: true,
            allow_high_risk: self.allow_high_risk,
        }
    }

    fn evaluate(&self) -> Result<Evaluation, Failure> {
        let (plan, input) = self.input()?;
        let mut engine = RegoEngine::builtin()?;
        for folder in &self.packs {
            engine = engine.with_pack(folder)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let opinions = runtime.block_on(engine.evaluate(&input))?;
        let floor = floor(&plan, &self.scope()?, self.settings());
        Ok(Evaluation::new(floor, opinions)?)
    }
}

fn code(evaluation: &Evaluation) -> ExitCode {
    match evaluation.verdict {
        Verdict::Allow => ExitCode::SUCCESS,
        Verdict::Deny => ExitCode::from(DENIED),
        Verdict::RequireApproval => ExitCode::from(NEEDS_APPROVAL),
    }
}

fn explain(evaluation: &Evaluation) {
    println!(
        "{}",
        match evaluation.verdict {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
            Verdict::RequireApproval => "allowed, if a person approves",
        }
    );
    let floor = evaluation
        .violations
        .iter()
        .filter(|violation| violation.pack == "floor");
    for violation in floor {
        println!(
            "\nfloor (the checks that no pack can loosen)\n  {}: {}",
            violation.id, violation.message
        );
    }
    for opinion in &evaluation.opinions {
        println!("\n{} ({})", opinion.pack, opinion.revision);
        for rule in &opinion.evaluated {
            let said = [
                ("denies", &opinion.deny),
                ("leaves to people", &opinion.manual),
                ("asks for approval", &opinion.require_approval),
                ("warns", &opinion.warn),
            ];
            let mut silent = true;
            for (what, violation) in said
                .iter()
                .flat_map(|(what, set)| set.iter().map(move |v| (what, v)))
            {
                if violation.id == *rule {
                    silent = false;
                    println!(
                        "  {rule} {what}: {}\n      hint: {}",
                        violation.message, violation.hint
                    );
                }
            }
            if silent {
                println!("  {rule} has nothing against it");
            }
        }
    }
}
