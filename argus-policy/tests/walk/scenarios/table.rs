//! Runs the scenarios of the suite on one cluster, some at once, and says in a table what became of each.

use std::time::{Duration, Instant};

use argus_core::Scanner;
use futures::{StreamExt, stream};

use super::{Ends, Scenario, Walked, files, read, walk};
use crate::world::World;

/// What is not as its scenario says that it has to be: where, its file, words of what is said instead, and why. Each is a fault of
/// ours that is known, and comes off this list with it.
const KNOWN: [(Place, &str, &str, &str); 11] = [
    (
        Place::Memory,
        "init-container-fails",
        "found only [",
        "the cluster in memory runs no init containers",
    ),
    (
        Place::Memory,
        "sidecar-needs-memory",
        "found only [",
        "the cluster in memory runs no init containers",
    ),
    (
        Place::Node,
        "command-not-there",
        "RunContainerError.` does not say `/bin/web`",
        "the kubelet says which command is not there, and Argus doesn't pass it on",
    ),
    (
        Place::Node,
        "crash-once-a-minute",
        "found only []",
        "a crash is forgotten ten seconds after the next start",
    ),
    (
        Place::Node,
        "disk-filled",
        "the plan is [\"kubectl delete pod/",
        "an eviction for disk space is taken for a pod that is stuck",
    ),
    (
        Place::Node,
        "health-asked-too-early-ends-well",
        "found only [",
        "a probe is seen by the exit codes 137 and 143 only",
    ),
    (
        Place::Node,
        "image-never-pulled",
        "found only [",
        "ErrImageNeverPull isn't taken for an image that is not there",
    ),
    (
        Place::Node,
        "job-kept-alive",
        "found only []",
        "nobody looks at a Job that doesn't end",
    ),
    (
        Place::Node,
        "liveness-under-load",
        "the plan came through to its dry run",
        "an app that answers late is taken for one that hasn't started",
    ),
    (
        Place::Node,
        "name-leads-nowhere",
        "the plan is [\"kubectl describe deployment/web",
        "a crash is not known for the symptom of a service that leads nowhere",
    ),
    (
        Place::Node,
        "variable-dropped-late",
        "the plan is [\"kubectl describe deployment/web",
        "a version is not known to have worked once its last copy is gone",
    ),
];

/// On what a scenario runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Memory,
    ApiServer,
    Node,
}

impl Place {
    /// How many scenarios run at once; on a real node they mostly wait.
    fn at_once(self) -> usize {
        match self {
            Self::Memory | Self::ApiServer => 6,
            Self::Node => 12,
        }
    }

    async fn world(self, alone: bool) -> Option<World> {
        match (self, alone) {
            (Self::Memory, _) => Some(World::memory().await),
            (Self::ApiServer, false) => World::real().await,
            (Self::ApiServer, true) => World::real_alone().await,
            (Self::Node, false) => World::node().await,
            (Self::Node, true) => World::node_alone().await,
        }
    }

    /// Whether a scenario can be made here, and is asked for. `ARGUS_TEST_SCENARIOS` asks for each whose file has it in its
    /// name.
    fn takes(self, file: &str, scenario: &Scenario) -> bool {
        let asked = match std::env::var("ARGUS_TEST_SCENARIOS") {
            Ok(part) => file.contains(&part),
            Err(_) => self != Self::Node || scenario.often,
        };
        let can = match self {
            Self::Node => scenario.not_on_node.is_empty(),
            _ => scenario.only_on_node.is_empty(),
        };
        asked && can
    }
}

/// What became of a scenario.
struct Row {
    file: String,
    title: String,
    expected: Option<Ends>,
    problem: Option<String>,
    walked: Walked,
    seconds: f64,
}

/// Whether nothing comes back.
async fn held(world: &World, seconds: u64) -> Result<(), String> {
    let (kube, scope, began) = (world.kube(), world.scope(), Instant::now());
    while began.elapsed() < Duration::from_secs(seconds) {
        let scan = kube.scan(&scope).await.map_err(|error| error.to_string())?;
        if let Some(finding) = scan.findings.first() {
            return Err(format!(
                "fixed, it said, and {} s later: {}",
                began.elapsed().as_secs(),
                finding.title
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn run(file: String, text: String, place: Place) -> Row {
    let began = Instant::now();
    let one = tokio::spawn(async move {
        let world = place.world(read(&text, "shop", "").alone).await?;
        let scenario = read(&text, world.namespace(), &world.quarter().await);
        let mut result = walk(&world, &scenario).await;
        if result.is_ok() && place == Place::Node && scenario.ends == Ends::Resolved {
            let seconds = scenario
                .holds
                .max(3 * result.as_ref().map_or(0, |walked| walked.hold));
            if let Err(back) = held(&world, seconds).await {
                result = Err(back);
            }
        }
        world.end().await;
        Some((scenario, result))
    });
    let seconds = |began: Instant| began.elapsed().as_secs_f64();
    match one.await {
        Ok(Some((scenario, result))) => {
            let (walked, problem) = match result {
                Ok(walked) => (walked, None),
                Err(problem) => (Walked::default(), Some(problem)),
            };
            Row {
                file,
                title: scenario.title,
                expected: Some(scenario.ends),
                problem,
                walked,
                seconds: seconds(began),
            }
        }
        Ok(None) | Err(_) => Row {
            file,
            title: String::new(),
            expected: None,
            problem: Some("it failed inside, see above".into()),
            walked: Walked::default(),
            seconds: seconds(began),
        },
    }
}

/// What the table says became of a scenario; whether that is as it has to be, or known.
fn verdict(row: &Row, place: Place) -> (String, bool) {
    let mut known = KNOWN.iter();
    let known = known.find(|(there, file, ..)| *there == place && *file == row.file);
    match (&row.problem, known) {
        (Some(problem), Some((_, _, words, why))) if problem.contains(words) => {
            (format!("known: {why} ({problem})"), true)
        }
        (Some(problem), _) => (problem.clone(), false),
        (None, Some((.., why))) => (
            format!("as it has to be: take it off the list of what is known, where it says: {why}"),
            false,
        ),
        (None, None) => {
            let words = match row.expected {
                Some(Ends::Resolved) => "resolved",
                Some(Ends::Reverted) => "put back by somebody else, and said so",
                Some(Ends::ByHand) => "left to people",
                Some(Ends::Denied) => "refused by policy",
                Some(Ends::WouldNotWork) => "refused by its dry run",
                Some(Ends::NoPlan) | None => "nothing to do",
            };
            (words.into(), true)
        }
    }
}

/// Runs every scenario that can be made there, prints the table, and fails if one is not as it has to be.
pub(super) async fn all(title: &str, place: Place) {
    let mut scenarios: Vec<(String, String, bool)> = files()
        .into_iter()
        .filter_map(|(file, text)| {
            let scenario = read(&text, "shop", "");
            let taken = place.takes(&file, &scenario);
            taken.then_some((file, text, scenario.alone))
        })
        .collect();
    // Those that wait for all others, and make all others wait, at the end.
    scenarios.sort_by_key(|(_, _, alone)| *alone);
    let runs = scenarios
        .into_iter()
        .map(|(file, text, _)| run(file, text, place));
    let mut rows: Vec<Row> = stream::iter(runs)
        .buffer_unordered(place.at_once())
        .collect()
        .await;
    rows.sort_by(|one, other| one.file.cmp(&other.file));
    let mut table = format!("\n{title}: tries, seconds of the last hold, seconds in all\n");
    for row in &rows {
        table += &format!(
            "{:32} {:74} {:2} {:4} s {:6.1} s  {}\n",
            row.file,
            row.title,
            row.walked.tries,
            row.walked.hold,
            row.seconds,
            verdict(row, place).0
        );
    }
    let rate = |wanted: &dyn Fn(&Row) -> bool| {
        let of = rows.iter().filter(|row| wanted(row));
        let good = of.clone().filter(|row| row.problem.is_none()).count();
        format!("{good} of {}", of.count())
    };
    let faults = rate(&|row| row.expected == Some(Ends::Resolved));
    let others = rate(&|row| row.expected != Some(Ends::Resolved));
    table += &format!("fixed and proven fixed: {faults}; left alone with the reason: {others}\n");
    eprintln!("{table}");
    assert!(rows.iter().all(|row| verdict(row, place).1), "{table}");
}
