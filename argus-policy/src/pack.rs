//! A folder becomes a [`Pack`]: Rego, data and a manifest, compiled once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use argus_core::{Digest, PolicyInput};
use serde_json::{Map, Value, json};

use crate::clauses::{Clause, Text, by_rule, titles};
use crate::gatekeeper::Template;
use crate::hoist::{add, parse};
use crate::lint;
use crate::manifest::{Manifest, Rule};
use crate::shortcut::Shortcut;
use crate::signature::KeyError;

/// The largest file of a pack, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most files in a pack.
const MAX_FILES: usize = 100;
/// The entry points, as sets; every rule speaks in the first and in one of the others.
pub(crate) const ENTRY_POINTS: [&str; 5] = ["passed", "deny", "manual", "require_approval", "warn"];

/// The rules that gather them: for a group of rules, and for one.
const ANSWERS: &str = "argus_answers";
const ANSWER: &str = "argus_answer";

/// Why a folder is no pack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A file can't be read.
    #[error("the pack file `{path}` can't be read")]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too many files, or one that is too large.
    #[error(
        "the pack `{0}` is too large: at most {MAX_FILES} files of at most {MAX_FILE} bytes are read"
    )]
    TooLarge(String),
    /// The manifest is malformed.
    #[error("the manifest `{path}` is malformed: {problem}")]
    Manifest {
        /// Which.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The Rego doesn't compile, or isn't what the manifest says.
    #[error("the pack `{pack}` can't be used: {problem}")]
    Rego {
        /// The pack.
        pack: String,
        /// What is wrong, with file and line where they are known.
        problem: String,
    },
    /// What the host sets, or `data.json`, isn't what the manifest's schema wants.
    #[error("the parameters of the pack `{pack}` don't fit: {problem}")]
    Parameters {
        /// The pack.
        pack: String,
        /// What is wrong, with the place.
        problem: String,
    },
    /// Its own tests don't hold it.
    #[error("the pack `{folder}` does not pass its tests: {problem}")]
    Tests {
        /// Where.
        folder: String,
        /// The first thing that is wrong.
        problem: String,
    },
    /// No key that the host trusts has signed it.
    #[error(
        "the pack `{0}` is not signed by a key that this host trusts: sign it with `argus-policy sign`"
    )]
    Unsigned(String),
    /// A key can't be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another pack has this name.
    #[error("there already is a pack named `{0}`")]
    Duplicate(String),
    /// No pack has this name.
    #[error("there is no pack named `{0}`")]
    Unknown(String),
}

/// A pack that compiled: its rules can be asked.
#[derive(Clone)]
pub struct Pack {
    folder: String,
    files: Arc<Vec<File>>,
    files_digest: Digest,
    revision: Digest,
    pub(crate) body: Body,
}

/// What a pack is made of.
#[derive(Clone)]
pub(crate) enum Body {
    /// Argus' own kind.
    Rules(Arc<Rules>),
    /// A Gatekeeper template with a constraint.
    Template(Arc<Template>),
}

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

/// One file of a pack.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What a pack of rules is made of.
pub(crate) struct Sources {
    manifest: Manifest,
    texts: Vec<Text>,
    titles: Vec<String>,
    /// Below a name of its own, so that data can't stand where a rule stands.
    data: Value,
}

impl Pack {
    /// Loads the pack in `folder`: `pack.yaml`, `*.rego` and, if there is one, `data.json`; or a Gatekeeper template,
    /// `template.yaml` and `constraint.yaml`.
    ///
    /// Rego of a pack runs in the host's process: load only packs that you trust as you trust code.
    ///
    /// # Errors
    /// [`PackError`] names the file and what is wrong with it.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let folder = folder.as_ref();
        // Tests belong to the pack's authors, they are no part of what decides.
        let files = read(folder, |name| {
            ["pack.yaml", "data.json", "template.yaml", "constraint.yaml"].contains(&name)
                || name.ends_with(".rego") && !name.ends_with("_test.rego")
        })?;
        let pack = Self::compile(&folder.display().to_string(), files, &Map::new())?;
        if let Body::Rules(rules) = &pack.body {
            // What is wrong with it is said now, not at its first question.
            rules.engine().map_err(|problem| PackError::Rego {
                pack: pack.name().to_owned(),
                problem,
            })?;
        }
        Ok(pack)
    }

    /// The same pack with the host's parameters in the place of those of `data.json`, or of the constraint.
    ///
    /// # Errors
    /// [`PackError::Parameters`] for what the manifest's schema doesn't allow.
    pub fn with_parameters(&self, parameters: &Map<String, Value>) -> Result<Self, PackError> {
        Self::compile(&self.folder, self.files.to_vec(), parameters)
    }

    pub(crate) fn compile(
        folder: &str,
        files: Vec<File>,
        parameters: &Map<String, Value>,
    ) -> Result<Self, PackError> {
        let unusable = |problem: String| PackError::Rego {
            pack: folder.to_owned(),
            problem,
        };
        let text = |wanted: &str| {
            let file = files.iter().find(|file| file.name == wanted);
            file.map(|file| file.text.as_str())
        };
        let body = match (text("pack.yaml"), text("template.yaml")) {
            (Some(manifest), None) => {
                let rules = Rules::new(folder, &files, manifest, parameters)?;
                Body::Rules(Arc::new(rules))
            }
            (None, Some(template)) => {
                let constraint = text("constraint.yaml");
                let constraint = constraint.ok_or_else(|| {
                    unusable(
                        "constraint.yaml is missing: it says which objects the template is about"
                            .into(),
                    )
                })?;
                let template = Template::new(folder, template, constraint, parameters);
                Body::Template(Arc::new(template.map_err(unusable)?))
            }
            (None, None) => {
                return Err(PackError::Manifest {
                    path: format!("{folder}/pack.yaml"),
                    problem: "it is missing".into(),
                });
            }
            (Some(_), Some(_)) => {
                return Err(unusable("it has both pack.yaml and template.yaml".into()));
            }
        };
        let mut sorted: Vec<(&str, &str)> = files
            .iter()
            .map(|file| (file.name.as_str(), file.text.as_str()))
            .collect();
        sorted.sort_unstable();
        let digest = |digest: Result<Digest, argus_core::DigestError>| {
            digest.map_err(|error| unusable(error.to_string()))
        };
        let files_digest = digest(Digest::of_json(&sorted))?;
        Ok(Self {
            folder: folder.to_owned(),
            files_digest,
            revision: digest(Digest::of_json(&(files_digest, parameters)))?,
            body,
            files: Arc::new(files),
        })
    }

    /// The name, as in `argus.packs.<name>`, or that of a Gatekeeper constraint.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.body {
            Body::Rules(rules) => &rules.sources.manifest.name,
            Body::Template(template) => &template.name,
        }
    }

    /// The digest of its files and of the host's parameters.
    #[must_use]
    pub fn revision(&self) -> Digest {
        self.revision
    }

    /// The digest of its files: what a signature is for.
    pub(crate) fn files_digest(&self) -> Digest {
        self.files_digest
    }

    /// Its rules, each with what it refuses in one line.
    #[must_use]
    pub fn rules(&self) -> Vec<(&str, &str)> {
        match &self.body {
            Body::Rules(rules) => {
                let Sources {
                    manifest, titles, ..
                } = &rules.sources;
                let ids = manifest.rules.iter().map(|rule| &*rule.id);
                ids.zip(titles.iter().map(|title| &**title)).collect()
            }
            Body::Template(template) => vec![(&template.name, &template.title)],
        }
    }
}

impl Rules {
    fn new(
        folder: &str,
        files: &[File],
        manifest: &str,
        parameters: &Map<String, Value>,
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
        let data = with(data, parameters, manifest.parameters.as_ref()).map_err(|problem| {
            PackError::Parameters {
                pack: name.clone(),
                problem,
            }
        })?;
        let (sources, shortcut) = Sources::new(folder, files, manifest, data).map_err(unusable)?;
        let (groups, answers) = sources.groups();
        Ok(Self {
            sources,
            groups,
            answers,
            engine: OnceLock::new(),
            shortcut,
            asked: AtomicU64::new(0),
        })
    }

    /// The rules of a question, with their places in the manifest.
    pub(crate) fn of(&self, question: &Question) -> impl Iterator<Item = (usize, &Rule)> {
        let rule = |place: &usize| Some((*place, self.sources.rules().get(*place)?));
        question.rules.iter().filter_map(rule)
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
            first.is_some_and(|(_, rule)| rule.applies(input))
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
    ) -> Result<(Self, Option<Shortcut>), String> {
        let rego = files.iter().filter(|file| file.name.ends_with(".rego"));
        let mut rego: Vec<(String, String)> = rego
            .map(|file| (format!("{folder}/{}", file.name), file.text.clone()))
            .collect();
        if rego.is_empty() {
            return Err("it has no Rego".into());
        }
        let titles = titles_of(&rego, &manifest)?;
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
        let clauses = lint::read(modules, &parsed.words, "argus_data", &lint::INPUT)?;
        for (text, mut clauses) in texts.iter_mut().zip(clauses) {
            let mut found = clauses.iter_mut();
            found.try_for_each(|clause| clause.find_rule(&manifest.rules))?;
            text.clauses = clauses;
        }
        lint::check(modules, texts.iter().flat_map(|text| &text.clauses))?;
        let data = json!({ "argus_data": { manifest.name.as_str(): data } });
        let sources = Self {
            titles,
            manifest,
            texts,
            data,
        };
        sources.check_rules()?;
        let clauses = sources.texts.iter().map(|text| text.clauses.as_slice());
        let data = regorus::Value::from(sources.data.clone());
        let shortcut = Shortcut::new(modules.iter().zip(clauses), sources.rules().len(), data);
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
            .add_data_json(&self.data.to_string())
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

fn titles_of(rego: &[(String, String)], manifest: &Manifest) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for (path, text) in rego {
        found.extend(titles(path, text)?);
    }
    let known = |id: &str| manifest.rules.iter().any(|rule| rule.id == id);
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
    manifest.rules.iter().map(title).collect()
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

/// The files of a folder that are wanted by their name, sorted; bounded in number and size.
pub(crate) fn read(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<File>, PackError> {
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| PackError::Io { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().to_owned();
        if wanted(&name) {
            paths.push((name, path));
        }
    }
    paths.sort();
    if paths.len() > MAX_FILES {
        return Err(PackError::TooLarge(folder.display().to_string()));
    }
    let mut files = Vec::new();
    for (name, path) in paths {
        if std::fs::metadata(&path).map_err(io(&path))?.len() > MAX_FILE {
            return Err(PackError::TooLarge(path.display().to_string()));
        }
        files.push(File {
            name,
            text: std::fs::read_to_string(&path).map_err(io(&path))?,
        });
    }
    Ok(files)
}
