//! What a pack of rules is made of: sources that are checked, questions about them, and the engine that answers.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use argus_core::PolicyInput;
use serde_json::{Map, Value, json};

use crate::clauses::{Clause, Text, by_rule, clauses, titles};
use crate::hoist::{add, parse};
use crate::lint;
use crate::manifest::{Manifest, Rule};
use crate::pack::{File, PackError};
use crate::shortcut::Shortcut;

/// The rules that gather entry points: for a group of rules, and for one.
const ANSWERS: &str = "argus_answers";
const ANSWER: &str = "argus_answer";

/// The name below `data` where the data of packs stands.
pub(crate) const DATA: &str = "argus_data";

/// Rules in groups, and the engine that they ask.
pub(crate) struct Rules {
    pub(crate) sources: Sources,
    groups: Vec<Group>,
    /// The rules by which the engine answers a question.
    answers: String,
    engine: OnceLock<Result<regorus::Engine, String>>,
    pub(crate) shortcut: Option<Shortcut>,
    /// How many inputs have come.
    pub(crate) asked: AtomicU64,
}

/// Rules that always apply together.
pub(crate) struct Group {
    /// About each rule by itself.
    pub(crate) alone: Vec<Question>,
    /// About all of them: what they share is evaluated once.
    pub(crate) together: Question,
}

/// What the engine can be asked about some rules.
pub(crate) struct Question {
    /// The rules, by their places in the manifest.
    pub(crate) rules: Vec<usize>,
    /// The entry points in which each of them speaks.
    pub(crate) entry_points: Vec<&'static str>,
    /// The path whose value is the list of these sets.
    pub(crate) path: String,
}

/// What a pack of rules is made of.
pub(crate) struct Sources {
    manifest: Manifest,
    texts: Vec<Text>,
    /// Below a name of its own, so that data can't stand where a rule stands.
    data: regorus::Value,
}

impl Rules {
    /// `checked` if these files have passed every check before, as those that are compiled in have in their tests: what only
    /// finds mistakes takes a quarter of the time.
    pub(crate) fn new(
        folder: &str,
        files: &[File],
        manifest: &str,
        parameters: &Map<String, Value>,
        checked: bool,
    ) -> Result<Self, PackError> {
        let manifest = Manifest::read(manifest).map_err(|problem| PackError::Manifest {
            path: format!("{folder}/pack.yaml"),
            problem,
        })?;
        let name = manifest.name.clone();
        let unusable = |problem: String| PackError::Rego {
            pack: name.clone(),
            problem,
        };
        let data = match files.iter().find(|file| file.name == "data.json") {
            None => Value::Object(Map::new()),
            Some(data) => serde_json::from_str(&data.text)
                .map_err(|error| unusable(format!("data.json: {error}")))?,
        };
        let data = if checked && parameters.is_empty() {
            data
        } else {
            let schema = manifest.parameters.as_ref();
            with(data, parameters, schema).map_err(|problem| PackError::Parameters {
                pack: name.clone(),
                problem,
            })?
        };
        let (sources, shortcut) =
            Sources::new(folder, files, manifest, data, checked).map_err(unusable)?;
        let (groups, answers) = sources.groups();
        let rules = Self {
            sources,
            groups,
            answers,
            engine: OnceLock::new(),
            shortcut,
            asked: AtomicU64::new(0),
        };
        if !checked {
            // What the engine finds wrong is said now, not at its first question.
            rules.engine().map_err(unusable)?;
        }
        Ok(rules)
    }

    pub(crate) fn name(&self) -> &str {
        &self.sources.manifest.name
    }

    /// The ids of its rules, each with its title, which have been read before where that could fail.
    pub(crate) fn titled(&self) -> Vec<(&str, String)> {
        let ids = self.sources.rules().iter().map(|rule| &*rule.id);
        let titles = self.sources.titles().unwrap_or_default();
        ids.zip(titles).collect()
    }

    /// The rules of a question.
    pub(crate) fn of(&self, question: &Question) -> impl Iterator<Item = &Rule> {
        let rules = question.rules.iter();
        rules.filter_map(|place| self.sources.rules().get(*place))
    }

    /// The first group, and the question about its first rule alone.
    #[cfg(test)]
    pub(crate) fn first(&self) -> Option<(&Group, &Question)> {
        let group = self.groups.first()?;
        Some((group, group.alone.first()?))
    }

    /// An engine of its own for one question. What they have in common is made for the first one: most inputs ask none.
    pub(crate) fn engine(&self) -> Result<regorus::Engine, String> {
        let engine = || self.sources.engine_with(&self.answers);
        self.engine.get_or_init(engine).clone()
    }

    /// Its rules that have to answer to this input, in groups.
    pub(crate) fn groups<'a>(&'a self, input: &'a PolicyInput) -> impl Iterator<Item = &'a Group> {
        self.groups.iter().filter(|group| {
            let first = self.of(&group.together).next();
            first.is_some_and(|rule| rule.applies(input))
        })
    }
}

/// The data with the host's parameters, as the schema of the manifest wants it.
fn with(
    mut data: Value,
    parameters: &Map<String, Value>,
    schema: Option<&Value>,
) -> Result<Value, String> {
    let Some(fields) = data.as_object_mut() else {
        return Err("data.json is not an object".into());
    };
    fields.extend(parameters.clone());
    let Some(schema) = schema else {
        let Some((field, _)) = parameters.iter().next() else {
            return Ok(data);
        };
        return Err(format!(
            "`{field}` is set, but its manifest has no `parameters`"
        ));
    };
    let validator = jsonschema::validator_for(schema)
        .map_err(|error| format!("the manifest's `parameters` are no JSON Schema: {error}"))?;
    let wrong = validator.iter_errors(&data).next();
    let wrong = wrong.map(|error| format!("at `{}`: {error}", error.instance_path()));
    wrong.map_or(Ok(data), Err)
}

impl Sources {
    /// With the rules that can be read without the engine.
    fn new(
        folder: &str,
        files: &[File],
        manifest: Manifest,
        data: Value,
        checked: bool,
    ) -> Result<(Self, Option<Shortcut>), String> {
        let rego = files.iter().filter(|file| file.name.ends_with(".rego"));
        let mut rego: Vec<(String, String)> = rego
            .map(|file| (format!("{folder}/{}", file.name), file.text.clone()))
            .collect();
        if rego.is_empty() {
            return Err("it has no Rego".into());
        }
        let mut parsed = parse(|| empty(true), &mut rego)?;
        let mut texts: Vec<Text> = rego
            .into_iter()
            .zip(parsed.edits)
            .map(|((path, text), edits)| Text {
                path,
                text,
                clauses: Vec::new(),
                edits,
            })
            .collect();
        let packages = parsed
            .engine
            .get_packages()
            .map_err(|error| format!("{error:#}"))?;
        let package = format!("data.argus.packs.{}", manifest.name);
        if let Some((found, text)) = packages
            .iter()
            .zip(&texts)
            .find(|(found, _)| **found != package)
        {
            return Err(format!(
                "{} is package `{found}`, it must be `{package}`",
                text.path
            ));
        }
        let modules = parsed.engine.get_modules();
        for ((text, module), words) in texts.iter_mut().zip(modules).zip(&parsed.words) {
            text.clauses = clauses(module, words);
            let mut found = text.clauses.iter_mut();
            found.try_for_each(|clause| clause.find_rule(&manifest.rules))?;
        }
        let data = json!({ "argus_data": { manifest.name.as_str(): data } });
        let data = regorus::Value::from_json_str(&data.to_string())
            .map_err(|error| format!("data.json: {error:#}"))?;
        let sources = Self {
            manifest,
            texts,
            data,
        };
        if !checked {
            lint::check(
                modules,
                &parsed.words,
                sources.clauses(),
                &[DATA],
                &lint::INPUT,
            )?;
            sources.check_rules()?;
            sources.titles()?;
        }
        let rules = sources.rules().len();
        let shortcut = Shortcut::new(modules, sources.clauses(), rules, sources.data.clone());
        Ok((sources, shortcut))
    }

    /// That each rule of the manifest can speak for and against.
    fn check_rules(&self) -> Result<(), String> {
        for (index, rule) in self.manifest.rules.iter().enumerate() {
            let of_it = || self.clauses().filter(|clause| clause.rule == Some(index));
            if of_it().all(Clause::objects) {
                return Err(format!(
                    "the rule `{}` has no clause `passed contains \"{}\" if ...`: it could never pass",
                    rule.id, rule.id
                ));
            }
            if !of_it().any(Clause::objects) {
                return Err(format!(
                    "the rule `{}` has no clause of `deny`, `manual`, `require_approval` or `warn`: it could never object",
                    rule.id
                ));
            }
        }
        Ok(())
    }

    /// What each rule refuses in one line, by its METADATA.
    fn titles(&self) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for Text { path, text, .. } in &self.texts {
            found.extend(titles(path, text)?);
        }
        let known = |id: &str| self.rules().iter().any(|rule| rule.id == id);
        if let Some((id, _)) = found.iter().find(|(id, _)| !known(id)) {
            return Err(format!(
                "the METADATA of `{id}` is about no rule of the manifest"
            ));
        }
        let title = |rule: &Rule| {
            let title = found.iter().find(|(id, _)| *id == rule.id);
            title.map(|(_, title)| title.clone()).ok_or_else(|| {
                format!(
                    "the rule `{}` has no METADATA: write `# METADATA`, `# title: ...`, `# custom:`, `#   id: {}` above it",
                    rule.id, rule.id
                )
            })
        };
        self.rules().iter().map(title).collect()
    }

    /// Its files as they were read, path and text.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let file = |text: &Text| (text.path.clone(), text.text.clone());
        self.texts.iter().map(file).collect()
    }

    fn clauses(&self) -> impl Iterator<Item = &Clause> + Clone {
        self.texts.iter().flat_map(|text| &text.clauses)
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.manifest.rules
    }

    /// Everything that it has, but for the clauses that are to be silent.
    pub(crate) fn engine(
        &self,
        silent: impl Fn(&Clause) -> bool,
    ) -> Result<regorus::Engine, String> {
        self.build(|text| text.without(&silent))
    }

    fn build(&self, text_of: impl Fn(&Text) -> String) -> Result<regorus::Engine, String> {
        let mut engine = empty(true);
        for text in &self.texts {
            add(&mut engine, text.path.clone(), text_of(text))?;
        }
        engine
            .add_data(self.data.clone())
            .map_err(|error| format!("data.json: {error:#}"))?;
        Ok(engine)
    }

    /// Everything that it has, with an entry point for each rule, and the rules that gather them.
    fn engine_with(&self, answers: &str) -> Result<regorus::Engine, String> {
        let mut engine = self.build(Text::by_rule)?;
        add(&mut engine, "the answers".into(), answers.to_owned())?;
        analysed(engine).or_else(|problem| {
            // The same problem, in the author's own words.
            analysed(self.engine(|_| false)?).and(Err(problem))
        })
    }

    /// The rules in groups that always apply together, and the rules that gather what each of them says: what isn't asked for is
    /// not evaluated.
    fn groups(&self) -> (Vec<Group>, String) {
        let rules = &self.manifest.rules;
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let together = members.iter_mut().find(|group| {
                let first = group.first().and_then(|first| rules.get(*first));
                first.is_some_and(|first| first.applies_with(rule))
            });
            match together {
                Some(group) => group.push(index),
                None => members.push(vec![index]),
            }
        }
        let package = format!("argus.packs.{}", self.manifest.name);
        let mut answers = format!("package {package}\n");
        // Where each rule speaks.
        let mut spoken: Vec<BTreeSet<&'static str>> = vec![BTreeSet::new(); rules.len()];
        for clause in self.clauses() {
            if let Some((rule, name)) = clause.speaks()
                && let Some(spoken) = spoken.get_mut(rule)
            {
                spoken.insert(name);
            }
        }
        let mut question = |rules: &[usize], name: String| {
            let (mut entry_points, mut sets) = (Vec::new(), Vec::new());
            for rule in rules {
                for name in spoken.get(*rule).into_iter().flatten() {
                    entry_points.push(*name);
                    sets.push(by_rule(name, *rule));
                }
            }
            answers.push_str(&format!("\n{name} := [{}]\n", sets.join(", ")));
            Question {
                rules: rules.to_vec(),
                entry_points,
                path: format!("data.{package}.{name}"),
            }
        };
        let groups = members.iter().enumerate().map(|(number, members)| Group {
            together: question(members, format!("{ANSWERS}__{number}")),
            alone: members
                .iter()
                .map(|rule| question(&[*rule], by_rule(ANSWER, *rule)))
                .collect(),
        });
        let groups = groups.collect();
        (groups, answers)
    }
}

/// An engine for Rego v1, or for the Rego before it, in which no error of a function is silent.
pub(crate) fn empty(v1: bool) -> regorus::Engine {
    let mut engine = regorus::Engine::new();
    engine.set_rego_v0(!v1);
    engine.set_strict_builtin_errors(true);
    engine
}

/// Analysed once: what a clause can't be evaluated with is found now, and evaluations share the result.
pub(crate) fn analysed(mut engine: regorus::Engine) -> Result<regorus::Engine, String> {
    engine
        .eval_query("true".into(), false)
        .map_err(|error| format!("{error:#}"))?;
    Ok(engine)
}
