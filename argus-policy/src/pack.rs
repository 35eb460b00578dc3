//! A folder becomes a [`Pack`]: Rego, data and a manifest, compiled once.

use std::collections::BTreeSet;
use std::path::Path;

use argus_core::{Digest, Phase};
use serde::Deserialize;
use serde_json::Value;

/// The largest file of a pack, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most files in a pack.
const MAX_FILES: usize = 100;
/// The entry points, as sets; every pack has the first two.
pub(crate) const ENTRY_POINTS: [&str; 5] = ["passed", "deny", "manual", "require_approval", "warn"];

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
    /// Another pack has this name.
    #[error("there already is a pack named `{0}`")]
    Duplicate(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    #[expect(dead_code, reason = "for people; checked to be there")]
    version: String,
    #[expect(dead_code, reason = "for people; checked to be there")]
    description: String,
    rules: Vec<Rule>,
}

/// A rule of the manifest: its id, and in which phases it must answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) phases: Vec<Phase>,
}

/// A pack that compiled: its rules can be asked.
#[derive(Clone)]
pub struct Pack {
    name: String,
    revision: Digest,
    rules: Vec<Rule>,
    /// Which of [`ENTRY_POINTS`] it declares.
    entry_points: [bool; 5],
    engine: regorus::Engine,
}

/// One file of a pack.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Pack {
    /// Loads the pack in `folder`: `pack.yaml`, `*.rego` and, if there is one, `data.json`.
    ///
    /// Rego of a pack runs in the host's process: load only packs that you trust as you trust code.
    ///
    /// # Errors
    /// [`PackError`] names the file and what is wrong with it.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let folder = folder.as_ref();
        // Tests belong to the pack's authors, they are no part of what decides.
        let files = read(folder, |name| {
            name == "pack.yaml"
                || name == "data.json"
                || name.ends_with(".rego") && !name.ends_with("_test.rego")
        })?;
        Self::compile(&folder.display().to_string(), &files)
    }

    /// The pack `baseline` that every engine has: the mission's security section.
    pub(crate) fn baseline() -> Result<Self, PackError> {
        let file = |name: &str, text: &str| File {
            name: name.into(),
            text: text.into(),
        };
        Self::compile(
            "baseline",
            &[
                file(
                    "baseline.rego",
                    include_str!("../policies/baseline/baseline.rego"),
                ),
                file("pack.yaml", include_str!("../policies/baseline/pack.yaml")),
            ],
        )
    }

    fn compile(folder: &str, files: &[File]) -> Result<Self, PackError> {
        let text = |wanted: &str| {
            files
                .iter()
                .find(|file| file.name == wanted)
                .map(|file| file.text.as_str())
        };
        let malformed = |problem: String| PackError::Manifest {
            path: format!("{folder}/pack.yaml"),
            problem,
        };
        let manifest = text("pack.yaml").ok_or_else(|| malformed("it is missing".into()))?;
        let manifest: Manifest =
            serde_saphyr::from_str(manifest).map_err(|error| malformed(error.to_string()))?;
        check(&manifest).map_err(malformed)?;
        let unusable = |problem: String| PackError::Rego {
            pack: manifest.name.clone(),
            problem,
        };

        let mut engine = regorus::Engine::new();
        engine.set_rego_v0(false);
        engine.set_strict_builtin_errors(true);
        let package = format!("data.argus.packs.{}", manifest.name);
        let mut policies = 0;
        for file in files.iter().filter(|file| file.name.ends_with(".rego")) {
            let found = engine
                .add_policy(format!("{folder}/{}", file.name), file.text.clone())
                .map_err(|error| unusable(format!("{error:#}")))?;
            if found != package {
                return Err(unusable(format!(
                    "{} is package `{found}`, it must be `{package}`",
                    file.name
                )));
            }
            policies += 1;
        }
        if policies == 0 {
            return Err(unusable("it has no Rego".into()));
        }
        if let Some(data) = text("data.json") {
            let data: Value = serde_json::from_str(data)
                .map_err(|error| unusable(format!("data.json: {error}")))?;
            // Below a name of its own, so that data can't stand where a rule stands.
            let data = serde_json::json!({ "argus_data": { manifest.name.as_str(): data } });
            engine
                .add_data_json(&data.to_string())
                .map_err(|error| unusable(format!("data.json: {error:#}")))?;
        }
        let modules = engine.get_modules().clone();
        crate::lint::check(&modules).map_err(unusable)?;
        let declared =
            |entry_point: &str| modules.iter().any(|module| declares(module, entry_point));
        let entry_points = ENTRY_POINTS.map(declared);
        let [passed, deny, ..] = entry_points;
        if !(passed && deny) {
            return Err(unusable(
                "it needs the entry points `passed` and `deny`".into(),
            ));
        }
        // Analysed here, once: what a rule can't be evaluated with is found now, and evaluations share the result.
        engine
            .eval_query("true".into(), false)
            .map_err(|error| unusable(format!("{error:#}")))?;
        let sorted: Vec<(&str, &str)> = files
            .iter()
            .map(|file| (file.name.as_str(), file.text.as_str()))
            .collect();
        let revision = Digest::of_json(&sorted).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            name: manifest.name,
            revision,
            rules: manifest.rules,
            entry_points,
            engine,
        })
    }

    /// The name, as in `argus.packs.<name>`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest of its files.
    #[must_use]
    pub fn revision(&self) -> Digest {
        self.revision
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The entry points, each with whether the pack declares it.
    pub(crate) fn entry_points(&self) -> impl Iterator<Item = (&'static str, bool)> {
        ENTRY_POINTS.into_iter().zip(self.entry_points)
    }

    /// An engine of its own for one evaluation.
    pub(crate) fn engine(&self) -> regorus::Engine {
        self.engine.clone()
    }
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

fn declares(module: &regorus::unstable::Module, entry_point: &str) -> bool {
    use regorus::unstable::{Rule, RuleHead};
    module.policy.iter().any(|rule| match rule.as_ref() {
        Rule::Spec { head, .. } => {
            let refr = match head {
                RuleHead::Compr { refr, .. }
                | RuleHead::Set { refr, .. }
                | RuleHead::Func { refr, .. } => refr,
            };
            refr.span().text() == entry_point
        }
        Rule::Default { .. } => false,
    })
}

fn check(manifest: &Manifest) -> Result<(), String> {
    let named = !manifest.name.is_empty()
        && manifest
            .name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !named {
        return Err(format!(
            "the name `{}` must be lower-case letters, digits and `_`",
            manifest.name
        ));
    }
    if manifest.rules.is_empty() {
        return Err("it lists no rules".into());
    }
    let ids: BTreeSet<&str> = manifest.rules.iter().map(|rule| rule.id.as_str()).collect();
    if ids.len() < manifest.rules.len() {
        return Err("it lists a rule twice".into());
    }
    match manifest.rules.iter().find(|rule| rule.phases.is_empty()) {
        Some(rule) => Err(format!("the rule `{}` names no phase", rule.id)),
        None => Ok(()),
    }
}
