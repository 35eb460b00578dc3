//! More memory for an app that uses more than it may: twice as much, and more again where that wasn't enough, up to a bound.

use super::fixes::{Fix, step};
use crate::action::{Action, ActionError, Amounts, Quantity, Target};
use crate::attempt::Attempt;
use crate::kubectl::parse_command;
use crate::names::DnsLabel;

/// What decides how much memory a container gets.
pub(super) struct Memory<'a> {
    /// What it may use now.
    pub(super) now: &'a str,
    /// What was tried before.
    pub(super) history: &'a [Attempt],
    /// The most that the host gives any container.
    pub(super) most: Option<&'a Quantity>,
    /// What the largest node has; none where it isn't known.
    pub(super) largest_node: Option<&'a str>,
}

impl Memory<'_> {
    /// The fix, or in words why it is left to a person.
    pub(super) fn more(
        &self,
        app: &str,
        target: &Target,
        container: &str,
    ) -> Result<Result<Fix, String>, ActionError> {
        let now = Quantity::new(self.now)?;
        let tried = self.tried(target, container);
        let base = tried.iter().chain([&now]).max().unwrap_or(&now);
        let mebibytes = (base.milli() * 2).div_ceil(1000 << 20).max(16);
        let mut new = Quantity::new(format!("{mebibytes}Mi"))?;
        let list: Vec<&str> = tried.iter().map(Quantity::as_str).collect();
        let before = match list.as_slice() {
            [] => String::new(),
            list => format!(
                "With {} of memory it was stopped again. ",
                list.join(" and with ")
            ),
        };
        // What is between the last amount and the bound is worth a try.
        if let Some(most) = self.most.filter(|most| new > **most) {
            if most <= base {
                return Ok(Err(format!(
                    "{before}Argus may give an app {most} of memory at most."
                )));
            }
            new = most.clone();
        }
        let node = self.largest_node.and_then(|node| Quantity::new(node).ok());
        if let Some(node) = node.filter(|node| new > *node) {
            return Ok(Err(format!(
                "{before}It would need {new}, and the largest node has {node}."
            )));
        }
        let set = |memory: Quantity| {
            let limits = Amounts {
                memory: Some(memory),
                ..Amounts::default()
            };
            let container = Some(DnsLabel::new(container)?);
            Action::set_resources(target.clone(), container, limits, Amounts::default())
        };
        Ok(Ok(Fix {
            summary: format!("Give {app} more memory."),
            step: step(
                format!(
                    "Let {app} use more memory so that it is no longer stopped for using too much (currently {now}, will set to {new}). {before}Its copies restart one by one."
                ),
                set(new)?,
            ),
            rollback: Some(step(
                format!("Give {app} its old memory limit back."),
                set(now)?,
            )),
        }))
    }

    /// The limits that were tried for a container and did not help, from the smallest on.
    fn tried(&self, target: &Target, container: &str) -> Vec<Quantity> {
        let attempts = self.history.iter().filter(|attempt| !attempt.helped());
        let steps = attempts.flat_map(|attempt| &attempt.steps);
        let written = steps.filter(|step| step.written);
        let limit = |action| match action {
            Action::SetResources {
                target: of,
                container: name,
                limits,
                ..
            } if of == *target => limits
                .memory
                .filter(|_| name.is_none_or(|name| name.to_string() == container)),
            _ => None,
        };
        let limits = written.filter_map(|step| limit(parse_command(&step.command).ok()?));
        let mut limits: Vec<Quantity> = limits.collect();
        limits.sort();
        limits.dedup();
        limits
    }
}
