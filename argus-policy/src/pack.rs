//! A folder becomes a [`Pack`]: Rego, data and a manifest, compiled once.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use argus_core::Digest;
use serde_json::{Map, Value};

use crate::gatekeeper::Template;
use crate::rules::Rules;
use crate::signature::KeyError;

/// The largest file of a pack, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most files in a pack.
const MAX_FILES: usize = 100;

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
    /// Something else stands where a file should.
    #[error(
        "`{0}` is no file of the pack: only regular files are read, and links only if they lead to one within its folder"
    )]
    NotAFile(String),
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

/// One file of a pack.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
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
        Self::compile(&folder.display().to_string(), files, &Map::new(), false)
    }

    /// The same pack with the host's parameters in the place of those of `data.json`, or of the constraint.
    ///
    /// # Errors
    /// [`PackError::Parameters`] for what the manifest's schema doesn't allow.
    pub fn with_parameters(&self, parameters: &Map<String, Value>) -> Result<Self, PackError> {
        Self::compile(&self.folder, self.files.to_vec(), parameters, true)
    }

    /// `checked` if these files have passed every check before.
    pub(crate) fn compile(
        folder: &str,
        files: Vec<File>,
        parameters: &Map<String, Value>,
        checked: bool,
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
                let rules = Rules::new(folder, &files, manifest, parameters, checked)?;
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
            Body::Rules(rules) => rules.name(),
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
    pub fn rules(&self) -> Vec<(&str, String)> {
        match &self.body {
            Body::Rules(rules) => rules.titled(),
            Body::Template(template) => vec![(&template.name, template.title.clone())],
        }
    }
}

/// The files of a folder that are wanted by their name, sorted; bounded in number and size.
pub(crate) fn read(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<File>, PackError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let name = entry.map_err(io(folder))?.file_name();
        let name = name.to_str().unwrap_or_default();
        if wanted(name) {
            names.push(name.to_owned());
        }
        if names.len() > MAX_FILES {
            return Err(PackError::TooLarge(folder.display().to_string()));
        }
    }
    names.sort();
    let file = |name: String| {
        let text = read_one(folder, &name)?;
        Ok(File { name, text })
    };
    names.into_iter().map(file).collect()
}

/// A file in a folder, by its name or its path from there: a regular file that stands in it, whatever links lead to it, of a size that
/// is read.
pub(crate) fn read_one(folder: &Path, path: &str) -> Result<String, PackError> {
    let path = folder.join(path);
    let root = folder.canonicalize().map_err(io(folder))?;
    let real = path.canonicalize().map_err(io(&path))?;
    // Opening a FIFO would wait for whoever writes to it.
    let is_file = real.metadata().map_err(io(&path))?.is_file();
    if !is_file || !real.starts_with(root) {
        return Err(PackError::NotAFile(path.display().to_string()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(real).map_err(io(&path))?;
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(io(&path))?;
    if text.len() as u64 > MAX_FILE {
        return Err(PackError::TooLarge(path.display().to_string()));
    }
    Ok(text)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PackError {
    let path = path.display().to_string();
    move |source| PackError::Io { path, source }
}
