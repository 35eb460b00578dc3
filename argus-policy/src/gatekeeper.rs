//! A Gatekeeper template with its constraint becomes a pack: its `violation` is asked about each object as the API server's
//! dry run returned it, and about the pods that a workload would make of it. What couldn't be asked as Gatekeeper asks it is
//! refused at load.

use std::path::Path;
use std::sync::LazyLock;

use argus_core::{ObjectInput, Phase, PolicyInput};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::clauses::{Clause, clauses};
use crate::hoist::parse;
use crate::lint;
use crate::pack::{File, PackError, read_one};
use crate::rules::{analysed, empty};
use crate::suite::timed;

/// The longest message of a template that is kept, in characters.
const MAX_MESSAGE: usize = 2000;

/// What a template sees.
static INPUT: LazyLock<Value> = LazyLock::new(|| {
    let any = json!({});
    json!({"properties": {
        "parameters": any,
        "review": {"properties": {
            "object": any, "oldObject": any, "operation": any, "name": any, "namespace": any, "kind": any,
        }},
    }})
});

#[derive(Deserialize)]
struct Document<T: Default> {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: T,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    annotations: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct TemplateSpec {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    rego: Option<String>,
    #[serde(default)]
    libs: Vec<String>,
    #[serde(default)]
    code: Vec<Code>,
}

#[derive(Deserialize)]
struct Code {
    engine: String,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    rego: Option<String>,
    #[serde(default)]
    libs: Vec<String>,
    version: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ConstraintSpec {
    enforcement_action: Option<String>,
    #[serde(default, rename = "match")]
    applies: Applies,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Which objects a constraint is about. Selectors by label would need objects that Argus doesn't read: they are refused.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Applies {
    #[serde(default)]
    kinds: Vec<Kinds>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    excluded_namespaces: Vec<String>,
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kinds {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
}

/// A template with one constraint.
pub(crate) struct Template {
    pub(crate) name: String,
    pub(crate) title: String,
    /// A `warn` of Gatekeeper's, rather than a `deny`.
    pub(crate) only_warns: bool,
    applies: Applies,
    parameters: Value,
    question: String,
    engine: regorus::Engine,
}

impl Template {
    /// From the texts of `template.yaml` and `constraint.yaml`; the host's parameters stand in for the constraint's.
    pub(crate) fn new(
        folder: &str,
        template: &str,
        constraint: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Self, String> {
        let document: Document<TemplateSpec> =
            serde_saphyr::from_str(template).map_err(|error| format!("template.yaml: {error}"))?;
        if document.kind != "ConstraintTemplate" {
            return Err(format!(
                "template.yaml is a {}, not a ConstraintTemplate",
                document.kind
            ));
        }
        let constraint: Document<ConstraintSpec> = serde_saphyr::from_str(constraint)
            .map_err(|error| format!("constraint.yaml can't be taken as it is: {error}"))?;
        let only_warns = match constraint.spec.enforcement_action.as_deref() {
            None | Some("deny") => false,
            Some("warn" | "dryrun") => true,
            Some(other) => return Err(format!("enforcementAction `{other}` is not known here")),
        };
        if constraint.spec.applies.scope.as_deref() == Some("Cluster") {
            return Err(
                "it is about objects without a namespace, which Argus never changes".into(),
            );
        }
        let (rego, libs, v1) = rego_of(document.spec)?;
        let mut texts = vec![("template.rego".to_owned(), rego)];
        let numbered = libs.into_iter().zip(1..);
        texts.extend(numbered.map(|(lib, number)| (format!("lib {number}"), lib)));
        let (question, engine) = compile(folder, texts, v1)?;
        let mut given = constraint.spec.parameters.unwrap_or_else(|| json!({}));
        if let Some(given) = given.as_object_mut() {
            given.extend(parameters.clone());
        }
        let title = document.metadata.annotations;
        let title = title.get("metadata.gatekeeper.sh/title");
        let title = title.and_then(Value::as_str).unwrap_or(&constraint.kind);
        let template = Self {
            title: title.to_owned(),
            name: constraint.metadata.name,
            only_warns,
            applies: constraint.spec.applies,
            parameters: given,
            question,
            engine,
        };
        // One that doesn't even answer about nothing would be silent about everything.
        let nothing = json!({"kind": "Nothing", "metadata": {"name": "nothing"}});
        template
            .ask(review(&nothing, None))
            .map_err(|problem| format!("asked about an empty object, {problem}"))?;
        Ok(template)
    }

    /// What it says about the objects of a plan, each with the step's index; `None` if it has no say in them.
    pub(crate) fn judge(
        &self,
        input: &PolicyInput,
    ) -> Result<Option<Vec<(usize, String)>>, String> {
        if input.phase != Phase::Objects {
            return Ok(None);
        }
        let mut asked = false;
        let mut messages = Vec::new();
        for object in &input.objects {
            for review in reviews(object) {
                if self.applies.to(&review) {
                    asked = true;
                    let found = self.ask(review)?.into_iter();
                    messages.extend(found.map(|message| (object.step, message)));
                }
            }
        }
        Ok(asked.then_some(messages))
    }

    /// Its messages about one review.
    pub(crate) fn ask(&self, review: Value) -> Result<Vec<String>, String> {
        let input = json!({"review": review, "parameters": self.parameters}).to_string();
        let input = regorus::Value::from_json_str(&input).map_err(|error| format!("{error:#}"))?;
        let mut engine = timed(self.engine.clone());
        engine.set_input(input);
        let answer = engine
            .eval_rule(self.question.clone())
            .map_err(|error| format!("{error:#}"))?;
        let answer = answer.as_set().map_err(|_| "`violation` is undefined")?;
        let message = |violation: &regorus::Value| {
            let fields = violation.as_object().ok()?;
            let message = fields.get(&"msg".into())?.as_string().ok()?;
            Some(message.chars().take(MAX_MESSAGE).collect())
        };
        answer
            .iter()
            .map(|violation| {
                message(violation).ok_or_else(|| "a violation has no `msg`".to_owned())
            })
            .collect()
    }
}

fn rego_of(spec: TemplateSpec) -> Result<(String, Vec<String>, bool), String> {
    let mut targets = spec.targets.into_iter();
    let (Some(target), None) = (targets.next(), targets.next()) else {
        return Err("template.yaml must have one target".into());
    };
    if let Some(rego) = target.rego {
        return Ok((rego, target.libs, false));
    }
    let code = target.code.into_iter().find(|code| code.engine == "Rego");
    let source = code.map(|code| code.source);
    match source {
        Some(Source {
            rego: Some(rego),
            libs,
            version,
        }) => Ok((rego, libs, version.as_deref() == Some("v1"))),
        _ => Err("template.yaml has no Rego: CEL can't be asked here".into()),
    }
}

/// The path of `violation`, and an engine that has everything it needs.
fn compile(
    folder: &str,
    texts: Vec<(String, String)>,
    v1: bool,
) -> Result<(String, regorus::Engine), String> {
    let in_folder = |(name, text)| (format!("{folder}/{name}"), text);
    let mut texts: Vec<(String, String)> = texts.into_iter().map(in_folder).collect();
    let mut parsed = parse(|| empty(v1), &mut texts)?;
    let packages = parsed
        .engine
        .get_packages()
        .map_err(|error| format!("{error:#}"))?;
    let package = packages.first().ok_or("template.yaml has no Rego")?;
    let question = format!("{package}.violation");
    let modules = parsed.engine.get_modules();
    let modules_with_words = modules.iter().zip(&parsed.words);
    let clauses: Vec<Clause> = modules_with_words
        .flat_map(|(module, words)| clauses(module, words))
        .collect();
    lint::check(modules, &parsed.words, clauses.iter(), &["lib"], &INPUT)?;
    if !clauses.iter().any(|clause| clause.name == "violation") {
        return Err("template.yaml has no rule `violation`".into());
    }
    let engine = parsed.understood(|| empty(v1), texts)?;
    Ok((question, analysed(engine)?))
}

/// An object as Gatekeeper would review it, and the pods that it would make.
fn reviews(object: &ObjectInput) -> Vec<Value> {
    if object.after.is_null() {
        return Vec::new();
    }
    let whole = review(&object.after, Some(&object.before));
    let pods = pod(&object.after).map(|pod| review(&pod, None));
    [whole].into_iter().chain(pods).collect()
}

/// What Gatekeeper hands to a template: an object that is made, or changed from an old one.
fn review(object: &Value, old: Option<&Value>) -> Value {
    let text = |path: &str| object.pointer(path).cloned().unwrap_or_default();
    let version = text("/apiVersion");
    let version = version.as_str().unwrap_or_default();
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let mut review = json!({
        "object": object,
        "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
        "name": text("/metadata/name"),
        "namespace": text("/metadata/namespace"),
        "kind": {"group": group, "version": version, "kind": text("/kind")},
    });
    if let (Some(old), Some(review)) = (old, review.as_object_mut()) {
        review.insert("oldObject".into(), old.clone());
    }
    review
}

/// A pod as a workload would make it.
fn pod(workload: &Value) -> Option<Value> {
    let template = ["/spec/template", "/spec/jobTemplate/spec/template"]
        .iter()
        .find_map(|path| workload.pointer(path))?;
    let mut metadata = template
        .get("metadata")
        .cloned()
        .unwrap_or_else(|| json!({}));
    for field in ["name", "namespace"] {
        let value = workload.pointer(&format!("/metadata/{field}"));
        metadata
            .as_object_mut()?
            .insert(field.into(), value.cloned().unwrap_or_default());
    }
    Some(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec")}),
    )
}

impl Applies {
    fn to(&self, review: &Value) -> bool {
        let text = |path: &str| {
            review
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (group, kind, namespace) =
            (text("/kind/group"), text("/kind/kind"), text("/namespace"));
        let one_of = |list: &[String], wanted: &str| {
            list.is_empty() || list.iter().any(|item| item == "*" || item == wanted)
        };
        let of_kinds =
            |kinds: &Kinds| one_of(&kinds.api_groups, group) && one_of(&kinds.kinds, kind);
        let named = |list: &[String]| list.iter().any(|pattern| glob(pattern, namespace));
        (self.kinds.is_empty() || self.kinds.iter().any(of_kinds))
            && (self.namespaces.is_empty() || named(&self.namespaces))
            && !named(&self.excluded_namespaces)
    }
}

/// Gatekeeper's globs: a `*` at the end, at the beginning, or both.
fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

/// A suite of `gator verify`: what a template says about sample objects.
#[derive(Deserialize)]
struct SuiteFile {
    tests: Vec<SuiteTest>,
}

#[derive(Deserialize)]
struct SuiteTest {
    name: String,
    template: String,
    constraint: String,
    #[serde(default)]
    cases: Vec<SuiteCase>,
}

#[derive(Deserialize)]
struct SuiteCase {
    name: String,
    object: String,
    #[serde(default)]
    assertions: Vec<Assertion>,
}

#[derive(Deserialize)]
struct Assertion {
    /// `yes`, `no` or a number; at least one where it isn't there.
    violations: Option<Value>,
    /// Only those whose message this regular expression finds.
    message: Option<String>,
}

/// Runs a `suite.yaml`: the name of each case, and why it failed.
pub(crate) fn run_suite(
    folder: &Path,
    suite: &File,
) -> Result<Vec<(String, Option<String>)>, String> {
    let suite: SuiteFile =
        serde_saphyr::from_str(&suite.text).map_err(|error| format!("suite.yaml: {error}"))?;
    let read = |path: &str| {
        let inside = !Path::new(path).is_absolute() && !path.split('/').any(|part| part == "..");
        if !inside {
            return Err(format!("suite.yaml: `{path}` is outside the pack"));
        }
        read_one(folder, path).map_err(|error| match error {
            PackError::Io { source, .. } => format!("suite.yaml: `{path}`: {source}"),
            other => format!("suite.yaml: {other}"),
        })
    };
    let mut results = Vec::new();
    for test in suite.tests {
        let (template, constraint) = (read(&test.template)?, read(&test.constraint)?);
        let place = folder.display().to_string();
        let template = Template::new(&place, &template, &constraint, &Map::new())?;
        for case in test.cases {
            let object: Value = serde_saphyr::from_str(&read(&case.object)?)
                .map_err(|error| format!("{}: {error}", case.object))?;
            let review = match object.get("request") {
                Some(request) => request.clone(),
                None => review(&object, None),
            };
            let failure = match template.ask(review) {
                Err(problem) => Some(problem),
                Ok(found) => case
                    .assertions
                    .iter()
                    .find_map(|assertion| assertion.failure(&found)),
            };
            results.push((format!("{}: {}", test.name, case.name), failure));
        }
    }
    Ok(results)
}

impl Assertion {
    fn failure(&self, messages: &[String]) -> Option<String> {
        let pattern = self.message.as_deref().unwrap_or_default();
        let pattern = match regex::Regex::new(pattern) {
            Ok(pattern) => pattern,
            Err(error) => return Some(format!("its message is no regular expression: {error}")),
        };
        let found = messages.iter().filter(|message| pattern.is_match(message));
        let found = found.count();
        let holds = match &self.violations {
            None | Some(Value::Bool(true)) => found > 0,
            Some(Value::Bool(false)) => found == 0,
            Some(Value::String(text)) if text == "yes" => found > 0,
            Some(Value::String(text)) if text == "no" => found == 0,
            Some(number) => number.as_u64() == u64::try_from(found).ok(),
        };
        (!holds).then(|| format!("it has {found} violations: {messages:?}"))
    }
}
