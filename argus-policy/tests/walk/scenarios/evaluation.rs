//! How good a model is: every scenario with its plans instead of the playbook's, in memory. `make llm-eval` runs it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use argus_core::{
    Answer, Completion, GenAi, LlmError, LlmProvider, Playbook, Prompt, Recovery, RemediatorError,
};

use super::{Ends, Write, as_before, break_it, deployments, files, incident, read};
use crate::world::World;

/// A model, with what it cost.
struct Counted {
    model: Arc<dyn LlmProvider>,
    asked: AtomicUsize,
    tokens: AtomicU64,
    /// The longest prompt, in characters.
    longest: AtomicUsize,
    time: Mutex<Duration>,
}

#[async_trait::async_trait]
impl LlmProvider for Counted {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        self.longest.fetch_max(prompt.length(), Ordering::Relaxed);
        let began = Instant::now();
        let answer = self.model.complete(prompt).await;
        *self.time.lock().unwrap() += began.elapsed();
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Ok(completion) = &answer {
            self.tokens
                .fetch_add(completion.usage().total(), Ordering::Relaxed);
        }
        answer
    }
}

/// The model of the environment; the playbook without one.
fn model() -> (String, Arc<dyn LlmProvider>) {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(name) = variable("ARGUS_EVAL_MODEL") else {
        return ("the playbook".into(), Arc::new(Playbook::new()));
    };
    let mut options = GenAi::model(&name);
    if let Some(wire) = variable("ARGUS_EVAL_WIRE") {
        options = options.wire(wire.parse().unwrap());
    }
    if let Some(endpoint) = variable("ARGUS_EVAL_ENDPOINT") {
        options = options.endpoint(endpoint);
    }
    if let Some(key) = variable("ARGUS_MODEL_KEY") {
        options = options.key(key);
    }
    (name, Arc::new(options.build().unwrap()))
}

/// What became of one scenario, in a few words; `Ok` if it is as good as it can be.
async fn tried(
    world: &World,
    scenario: &super::Scenario,
    llm: Arc<Counted>,
) -> Result<&'static str, String> {
    break_it(world, scenario).await;
    let incident = incident(world, scenario).await?;
    let before = deployments(world).await;
    let remediator = world.remediator(llm);
    let plan = match remediator.suggest(&incident).await {
        Ok(plan) if plan.steps().is_empty() && scenario.ends == Ends::NoPlan => {
            return Ok("nothing to do");
        }
        Ok(plan) if plan.steps().is_empty() => return Err("says that nothing is wrong".into()),
        Ok(plan) => plan,
        Err(error) => return Err(argus_core::Problem::causes(&error)),
    };
    let alone = scenario.ends != Ends::Resolved;
    let dry_run = match remediator.review(plan).await {
        Ok(permitted) => remediator.dry_run(permitted).await,
        Err(error) => Err(error),
    };
    let dry_run = match dry_run {
        Ok(dry_run) => dry_run,
        Err(error) => {
            let words = match &error {
                RemediatorError::Manual { .. } => "left to people",
                error if error.is_denied() => "refused by policy",
                _ => "refused by its dry run",
            };
            return if alone { Ok(words) } else { Err(words.into()) };
        }
    };
    let approved = dry_run.approve(Answer::confirm("operator"));
    let approved = approved.map_err(|_| "high risk".to_owned())?;
    let outcome = remediator.execute(approved).await;
    let outcome = outcome.map_err(|error| error.to_string())?;
    let recovery = outcome.rescan.as_ref().map(|rescan| rescan.recovery);
    match recovery {
        Some(Recovery::Resolved) if outcome.success => {
            as_before(world, &before).await.map(|()| "fixed")
        }
        _ => Err(format!("{:?}, {:?}", outcome.ending, recovery)),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make llm-eval` runs it"]
async fn of_a_model() {
    let (name, model) = model();
    let only = std::env::var("ARGUS_EVAL_ONLY").unwrap_or_default();
    eprintln!("\n{name}, every scenario in memory\n");
    let (mut fixed, mut of, mut alone, mut of_alone) = (0, 0, 0, 0);
    let (mut tokens, mut longest, mut asked) = (0, 0, 0);
    for (file, text) in files().into_iter().filter(|(file, text)| {
        file.contains(&only) && read(text, "shop", "").only_on_node.is_empty()
    }) {
        let world = World::memory().await;
        let scenario = read(&text, world.namespace(), &world.quarter().await);
        let counted = Arc::new(Counted {
            model: Arc::clone(&model),
            asked: AtomicUsize::new(0),
            tokens: AtomicU64::new(0),
            longest: AtomicUsize::new(0),
            time: Mutex::default(),
        });
        let result = tried(&world, &scenario, Arc::clone(&counted)).await;
        // Whatever it said: what was written was tried before, as somebody approved it.
        let writes = world.writes().await;
        let tried: Vec<&Write> = writes.iter().filter(|write| write.2).collect();
        for write in writes.iter().filter(|write| !write.2) {
            let same = |dry: &&&Write| dry.0 == write.0 && dry.1 == write.1;
            assert!(tried.iter().any(|dry| same(&dry)), "{file}: {write:?}");
        }
        world.end().await;
        let good = usize::from(result.is_ok());
        if scenario.ends == Ends::Resolved {
            (fixed, of) = (fixed + good, of + 1);
        } else {
            (alone, of_alone) = (alone + good, of_alone + 1);
        }
        tokens += counted.tokens.load(Ordering::Relaxed);
        asked += counted.asked.load(Ordering::Relaxed);
        longest = longest.max(counted.longest.load(Ordering::Relaxed));
        let words = result.map_or_else(|problem| problem, str::to_owned);
        let words: String = words.chars().take(90).collect();
        eprintln!(
            "{file:32} asked {} times, {:6} tokens, {:6.1} s  {words}",
            counted.asked.load(Ordering::Relaxed),
            counted.tokens.load(Ordering::Relaxed),
            counted.time.lock().unwrap().as_secs_f64(),
        );
    }
    eprintln!(
        "\nfixed and proven fixed: {fixed} of {of}; left alone: {alone} of {of_alone}; asked {asked} times, {tokens} tokens; \
         the longest prompt has {longest} characters"
    );
}
