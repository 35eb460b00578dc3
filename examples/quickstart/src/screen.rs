//! What the walk looks like: plain English on a terminal, JSON lines for programs.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is what the program is for"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal, stderr, stdin};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argus_core::{
    Actor, Answer, AuditEvent, AuditRecord, DryRun, Evaluation, Incident, Outcome, Plan, PlanId,
    Recovery, Risk, Scan, Scope, Shown, ShownChange, Tail, Verdict,
};
use console::style;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

#[derive(Clone)]
pub(crate) struct Screen {
    json: bool,
    running: Arc<Mutex<Option<ProgressBar>>>,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            running: Arc::default(),
        }
    }

    /// A line of JSON for programs; says whether people see nothing else.
    fn for_programs(&self, what: &str, value: impl FnOnce() -> Value) -> bool {
        if self.json {
            println!("{}", json!({ "event": what, "data": value() }));
        }
        self.json
    }

    pub(crate) fn error(&self, error: &dyn Error) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        if !self.for_programs("error", || json!({ "message": text })) {
            eprintln!("{} {text}", style("error:").red().bold().for_stderr());
        }
    }

    pub(crate) fn yaml(&self, text: &str) {
        print!("{text}");
    }

    pub(crate) fn heading(&self, text: &str) {
        if !self.json {
            println!("\n{}", style(text).bold().underlined());
        }
    }

    fn label(name: &str) -> String {
        style(format!("{name:<9}")).cyan().to_string()
    }

    pub(crate) fn found(&self, cluster: &str, scope: &Scope, scan: &Scan) {
        if self.for_programs("scan", || json!(scan)) {
            return;
        }
        let namespaces = scope.iter().collect::<Vec<_>>().join(", ");
        println!(
            "{} {cluster}, namespace {namespaces}",
            style("Argus").bold()
        );
        match scan.findings.len() {
            0 => println!("{} Nothing is wrong.", style("✔").green()),
            1 => println!("1 issue was found:"),
            n => println!("{n} issues were found:"),
        }
        for finding in &scan.findings {
            println!("  {} {}", style("●").red(), finding.title);
        }
    }

    pub(crate) fn incident(&self, incident: &Incident) {
        if self.for_programs("incident", || json!(incident)) {
            return;
        }
        println!(
            "\n{}{}",
            Self::label("Incident"),
            style(incident.incident_id()).dim()
        );
        for finding in incident.findings() {
            println!("  {} {}", style("●").red(), finding.description);
            for evidence in finding.evidence.iter().take(2) {
                println!("      {}", style(evidence).dim());
            }
        }
    }

    pub(crate) fn plan(&self, plan: &Plan) {
        if self.for_programs("plan", || json!(plan)) {
            return;
        }
        let risk = match plan.risk_level() {
            Risk::Low => style("low risk").green(),
            Risk::Medium => style("medium risk").yellow(),
            Risk::High => style("high risk").red(),
        };
        println!(
            "\n{}{}  [{risk}]  {}",
            Self::label("Plan"),
            style(plan.summary()).bold(),
            style(format!("by {}", plan.model_used())).dim()
        );
        for (number, step) in (1..).zip(plan.steps()) {
            println!("  {number}. {}", step.description());
            println!("     {} {}", style("$").dim(), style(step.command()).blue());
        }
        for step in plan.rollback_steps() {
            println!(
                "  {} {}",
                style("to go back by hand:").dim(),
                style(step.command()).dim()
            );
        }
    }

    pub(crate) fn verdict(&self, evaluation: &Evaluation) {
        if self.for_programs("verdict", || json!(evaluation)) {
            return;
        }
        let word = match evaluation.verdict {
            Verdict::Allow => style("allowed").green(),
            _ if evaluation
                .opinions
                .iter()
                .any(|opinion| !opinion.manual.is_empty()) =>
            {
                style("left to a person").yellow()
            }
            Verdict::RequireApproval => style("allowed, if a person approves").yellow(),
            Verdict::Deny => style("refused").red(),
        };
        let rules: Vec<&str> = evaluation
            .opinions
            .iter()
            .flat_map(|opinion| &opinion.evaluated)
            .map(String::as_str)
            .collect();
        println!("\n{}{word}", Self::label("Policy"));
        for violation in evaluation
            .opinions
            .iter()
            .flat_map(|opinion| opinion.require_approval.iter().chain(&opinion.warn))
        {
            println!(
                "  {} {} {}",
                style("!").yellow(),
                violation.message,
                style(format!("({})", violation.id)).dim()
            );
        }
        println!(
            "  {}",
            style(format!(
                "{} rules looked: {}",
                rules.len(),
                rules.join(", ")
            ))
            .dim()
        );
    }

    pub(crate) fn denied(&self, evaluation: &Evaluation) {
        if self.for_programs("denied", || json!(evaluation)) {
            return;
        }
        println!(
            "\n{}{}",
            Self::label("Policy"),
            style("refused, nothing was done").red().bold()
        );
        // Several rules may refuse for one reason: it is shown once, with all of them.
        let mut reasons: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
        for violation in &evaluation.violations {
            reasons
                .entry(&violation.hint)
                .or_insert((&violation.message, Vec::new()))
                .1
                .push(&violation.id);
        }
        for (hint, (message, rules)) in reasons {
            println!(
                "  {} {message} {}",
                style("✘").red(),
                style(format!("({})", rules.join(", "))).dim()
            );
            println!("    {}", style(format!("hint: {hint}")).dim());
        }
    }

    pub(crate) fn manual(&self, steps: &BTreeMap<usize, String>) {
        if self.for_programs("manual", || json!(steps)) {
            return;
        }
        for (step, reason) in steps {
            println!("  {} step {}: {reason}", style("!").yellow(), step + 1);
        }
    }

    pub(crate) fn dry_run(&self, dry_run: &DryRun) {
        let steps = Shown::from(dry_run).steps;
        let shown = || {
            let changes: Vec<&[ShownChange]> = steps.iter().map(|step| &*step.changes).collect();
            let warnings: Vec<&[String]> = steps.iter().map(|step| &*step.warnings).collect();
            json!({ "digest": dry_run.digest(), "changes": changes, "warnings": warnings })
        };
        if self.for_programs("dry_run", shown) {
            return;
        }
        println!(
            "\n{}tried on the cluster without doing it; this would change:",
            Self::label("Dry run")
        );
        for change in steps.iter().flat_map(|step| &step.changes) {
            println!("  {}", change.field);
            println!("    {}", style(format!("- {}", change.before)).red());
            println!("    {}", style(format!("+ {}", change.after)).green());
        }
        for warning in steps.iter().flat_map(|step| &step.warnings) {
            println!("  {} the cluster warns: {warning}", style("!").yellow());
        }
    }

    /// Asks at the terminal; nobody there is a no.
    pub(crate) fn ask(&self, name: Option<&str>) -> Option<Answer> {
        if !stdin().is_terminal() || self.json {
            return None;
        }
        let wanted = name.unwrap_or("yes");
        match name {
            Some(name) => eprintln!(
                "\nThis plan is high-risk. Type the name of the resource, {name}, to carry it out:"
            ),
            None => eprintln!(
                "\nI understand this will change my cluster. Type yes to carry the plan out:"
            ),
        }
        let mut line = String::new();
        stdin().read_line(&mut line).ok()?;
        let typed = line.trim();
        let confirm = || {
            if name.is_some() {
                Answer::confirm_by_name("terminal", typed)
            } else {
                Answer::confirm("terminal")
            }
        };
        (typed == wanted).then(confirm)
    }

    pub(crate) fn suggested_only(&self) {
        if !self.for_programs("suggested_only", || Value::Null) {
            println!(
                "\n{} Only suggested: nothing was changed. Use --apply at a terminal to carry plans out.",
                style("●").cyan()
            );
        }
    }

    pub(crate) fn approved(&self, answer: &Answer, dry_run: &DryRun) {
        let digest = dry_run.digest().to_string();
        if self.for_programs(
            "approved",
            || json!({ "by": answer.actor().ok(), "digest": digest }),
        ) {
            return;
        }
        let short: String = digest.chars().take(19).collect();
        println!(
            "\n{}by {}, for exactly this: {}, for ten minutes, once",
            Self::label("Approved"),
            answer.actor().map_or("nobody", Actor::name),
            style(short).dim()
        );
    }

    /// Shows a record of the trail as progress.
    pub(crate) fn progress(&self, record: &AuditRecord) {
        if self.for_programs("record", || json!(record)) {
            return;
        }
        let entry = &record.entry;
        let step = entry.step.map_or(0, |step| step + 1);
        let command = entry.command.as_deref().unwrap_or_default();
        let outcome = entry.outcome.as_deref().unwrap_or_default();
        match entry.event {
            AuditEvent::StepIntended => self.spin(format!("step {step}: {command}")),
            AuditEvent::StepApplied => self.spin(format!(
                "step {step}: written, waiting until it came to rest"
            )),
            AuditEvent::StepSettled => self.done(&format!(
                "  {} step {step} is done: {command}",
                style("✔").green()
            )),
            AuditEvent::StepFailed | AuditEvent::StepUnknown | AuditEvent::StepUnsettled => {
                self.done(&format!("  {} step {step}: {outcome}", style("✘").red()))
            }
            AuditEvent::Holding => {
                self.done(&format!("  {} {outcome}", style("…").cyan()));
                self.spin("watching".into());
            }
            AuditEvent::Held => self.done(&format!("  {} {outcome}", style("✔").green())),
            AuditEvent::Relapsed | AuditEvent::Regressed => {
                self.done(&format!("  {} {outcome}", style("✘").red()))
            }
            AuditEvent::UndoIntended => self.spin(format!("undoing step {step}")),
            AuditEvent::StepUndone => self.done(&format!(
                "  {} step {step} was undone: {outcome}",
                style("↺").yellow()
            )),
            AuditEvent::UndoFailed => self.done(&format!(
                "  {} step {step} could not be undone: {outcome}",
                style("✘").red()
            )),
            _ => {}
        }
    }

    fn spin(&self, text: String) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = running.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(looks) = ProgressStyle::with_template("  {spinner:.cyan} {msg}") {
                bar.set_style(looks);
            }
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        if !stderr().is_terminal() && text.starts_with("step") && !text.contains("waiting") {
            println!("  … {text}");
        }
        bar.set_message(text);
    }

    fn done(&self, line: &str) {
        if let Some(bar) = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            bar.finish_and_clear();
        }
        println!("{line}");
    }

    pub(crate) fn unfinished(&self, plan_id: &PlanId, resumes: bool) {
        if self.for_programs(
            "unfinished",
            || json!({ "plan_id": plan_id, "resumes": resumes }),
        ) {
            return;
        }
        self.heading("A plan of an earlier run was cut off");
        let next = if resumes {
            "it is finished, or undone, before anything else"
        } else {
            "run again with --apply to finish or undo it"
        };
        println!("{}{plan_id}: {next}", Self::label("Plan"));
    }

    pub(crate) fn outcome(&self, outcome: &Outcome) {
        if self.for_programs("outcome", || json!(outcome)) {
            return;
        }
        if let Some(error) = &outcome.error {
            println!("\n{} {error}", style("✘").red());
        }
        let Some(rescan) = &outcome.rescan else {
            println!(
                "\n{}the cluster could not be scanned",
                Self::label("Re-scan")
            );
            return;
        };
        let sign = if rescan.recovery == Recovery::Resolved {
            style("✔").green()
        } else {
            style("!").yellow()
        };
        println!(
            "\n{}{sign} {}",
            Self::label("Re-scan"),
            style(rescan.summary()).bold()
        );
        let issues = rescan.issues();
        let fixed = issues.fixed.iter().map(|issue| (style("✔").green(), issue));
        let open = issues.remaining.iter().chain(&issues.new);
        for (sign, issue) in fixed.chain(open.map(|issue| (style("●").red(), issue))) {
            println!("  {sign} {}", issue.title);
            for symptom in &issue.symptoms {
                println!("      {}", style(symptom).dim());
            }
        }
    }

    pub(crate) fn trail(&self, folder: &Path, tail: &Tail, records: &[AuditRecord]) {
        if self.for_programs(
            "audit",
            || json!({ "folder": folder, "records": tail.records, "digest": tail.digest }),
        ) {
            return;
        }
        println!(
            "\n{}{} records, chained and whole, in {}",
            Self::label("Audit"),
            tail.records,
            folder.display()
        );
        for record in records {
            let entry = &record.entry;
            let event = serde_json::to_value(entry.event)
                .ok()
                .and_then(|event| event.as_str().map(|text| text.replace('_', " ")))
                .unwrap_or_default();
            let time = record.timestamp.strftime("%H:%M:%S%.3f");
            let what = entry
                .command
                .as_deref()
                .or(entry.outcome.as_deref())
                .unwrap_or_default();
            let what: String = what.chars().take(90).collect();
            println!(
                "  {:>3}  {time}  {event:<14}  {:<6}  {}",
                record.sequence,
                entry.requested_by.name(),
                style(what).dim()
            );
        }
    }
}
