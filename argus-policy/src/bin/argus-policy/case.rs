//! What is asked: a plan, the objects that it would leave, and the host's configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use argus_core::{
    Completion, Evaluation, IncidentId, ObjectInput, Phase, Plan, PolicyInput, Scope, Settings,
    floor, floor_of_results,
};
use argus_policy::RegoEngine;
use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Failure, read};

#[derive(Args)]
pub(crate) struct Case {
    /// The plan: what a model answered (summary, steps, risk_level, risk_reason, rollback_steps), or a plan that Argus wrote.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// The objects before and after its steps, to ask about the result: `[{"step": 0, "before": {...}, "after": {...}}]`.
    #[arg(long, value_name = "FILE")]
    objects: Option<PathBuf>,
    /// The host's configuration, YAML: namespaces, allow_high_risk, and parameters by pack.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A namespace that Argus may change, besides those of the configuration; can be given several times.
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// As a host with `remediation.allow_high_risk`.
    #[arg(long)]
    allow_high_risk: bool,
    /// As if it were this time, such as `2026-12-24T18:00:00Z`; now by default.
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    /// The packs' folders, besides the built-in ones.
    packs: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    allow_high_risk: bool,
    #[serde(default)]
    parameters: BTreeMap<String, Map<String, Value>>,
}

impl Case {
    fn plan(&self) -> Result<Plan, Failure> {
        let text = read(&self.plan)?;
        if let Ok(plan) = serde_json::from_str(&text) {
            return Ok(plan);
        }
        let completion = Completion::new(text, "the author of the test");
        Ok(Plan::parse(&completion, &IncidentId::new("INC-0")?)?)
    }

    fn config(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => serde_saphyr::from_str(&read(path)?)
                .map_err(|error| format!("the configuration `{}`: {error}", path.display()))?,
        };
        config.namespaces.extend(self.namespaces.iter().cloned());
        config.allow_high_risk |= self.allow_high_risk;
        Ok(config)
    }

    pub(crate) fn input(&self) -> Result<(Plan, PolicyInput), Failure> {
        let (plan, config) = (self.plan()?, self.config()?);
        let (scope, settings) = (config.scope()?, config.settings());
        let mut input = PolicyInput::of_plan(&plan, &scope, settings);
        // A draft names no incident: it is taken for one about what it changes.
        for step in input
            .plan
            .steps
            .iter_mut()
            .filter(|step| step.target.is_some())
        {
            step.of_incident.get_or_insert(true);
        }
        if let Some(time) = self.time {
            input = input.at(time);
        }
        if let Some(path) = &self.objects {
            let objects: Vec<ObjectInput> = serde_json::from_str(&read(path)?)
                .map_err(|error| format!("the objects `{}`: {error}", path.display()))?;
            input = input.with_objects(Phase::Objects, objects);
        }
        Ok((plan, input))
    }

    pub(crate) fn evaluate(&self) -> Result<(Evaluation, RegoEngine), Failure> {
        let ((plan, input), config) = (self.input()?, self.config()?);
        let mut engine = RegoEngine::builtin()?;
        for folder in &self.packs {
            engine = engine.with(argus_policy::Pack::load(folder)?)?;
        }
        for (pack, parameters) in &config.parameters {
            engine = engine.with_parameters(pack, parameters)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut floor = floor(&plan, &config.scope()?, config.settings());
        floor.extend(floor_of_results(&input));
        let evaluation = runtime.block_on(Evaluation::of(&engine, &input, floor))?;
        Ok((evaluation, engine))
    }
}

impl Config {
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
}
