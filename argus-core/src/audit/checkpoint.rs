//! The root of the trail's tree becomes a signed text, and a signed text becomes trust in so many records.
//!
//! Format: C2SP tlog-checkpoint in a C2SP signed-note, so that others' tools read it.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::AuditError;
use super::chain::{Chain, damaged};
use super::merkle::{Hash, Tree};

/// The algorithm's byte in a note's key id.
const ED25519: u8 = 1;

/// Why a key or a checkpoint can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The text is no key.
    #[error(
        "this is no {0} Ed25519 key in PEM: make a pair with `openssl genpkey -algorithm ed25519`"
    )]
    Key(&'static str),
    /// The name of a trail.
    #[error(
        "the name of a trail must be 1 to 100 visible characters without `+` and spaces, such as `argus.example.com/shop`"
    )]
    Name,
    /// The text is no checkpoint.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(&'static str),
    /// It stands for fewer records than were removed since.
    #[error(
        "the checkpoint stands for {records} records, and the first {removed} were removed since: nothing is left to hold it against, take a newer one"
    )]
    Old {
        /// How many it stands for.
        records: u64,
        /// How many were removed.
        removed: u64,
    },
    /// Nobody who is trusted signed it.
    #[error("the checkpoint is not signed by the key of `{0}`, or was changed")]
    Signature(String),
}

/// What a trail's checkpoints are signed with: the trail's name and an Ed25519 private key.
#[derive(Clone)]
pub struct AuditSigner {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for AuditSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditSigner({})", self.name)
    }
}

/// What a trail's checkpoints are checked with: the trail's name and an Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditKey {
    name: String,
    key: VerifyingKey,
}

/// So many records of a trail, all of them, by one hash: signed, short enough to keep elsewhere.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("argus-checkpoint-{}", std::process::id()));
/// # const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDGiYb9pRrhLlEuLVtV/wFgJGJTmpAgsZ0ZtYyBaHj5g\n-----END PRIVATE KEY-----\n";
/// use argus_core::{AuditSigner, FileAudit};
/// let signer = AuditSigner::from_pem("argus.example.com/shop", PRIVATE)?;
/// let key = signer.key();
/// let audit = FileAudit::options().signed_by(signer).open(&folder).await?;
/// let checkpoint = audit.checkpoint().await?;
/// assert_eq!(key.check(&checkpoint.to_string())?.records(), 0);
/// # drop(audit);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    records: u64,
    root: Hash,
    text: String,
}

impl AuditSigner {
    /// A trail's name, such as `argus.example.com/shop`, and `-----BEGIN PRIVATE KEY-----`.
    ///
    /// # Errors
    /// [`CheckpointError::Name`] and [`CheckpointError::Key`].
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, CheckpointError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| CheckpointError::Key("private"))?;
        Ok(Self {
            name: clean(name)?,
            key,
        })
    }

    /// What its checkpoints are checked with.
    #[must_use]
    pub fn key(&self) -> AuditKey {
        AuditKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    pub(super) fn sign(&self, tree: &Tree) -> Checkpoint {
        let root = BASE64_STANDARD.encode(tree.root());
        let body = format!("{}\n{}\n{root}\n", self.name, tree.size());
        let mut line = self.key().id().to_vec();
        line.extend(self.key.sign(body.as_bytes()).to_bytes());
        let line = BASE64_STANDARD.encode(line);
        Checkpoint {
            records: tree.size(),
            root: tree.root(),
            text: format!("{body}\n— {} {line}\n", self.name),
        }
    }
}

impl AuditKey {
    /// A trail's name, and `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// [`CheckpointError::Name`] and [`CheckpointError::Key`].
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, CheckpointError> {
        let key = VerifyingKey::from_public_key_pem(pem);
        Ok(Self {
            name: clean(name)?,
            key: key.map_err(|_| CheckpointError::Key("public"))?,
        })
    }

    /// Reads a checkpoint that this key signed.
    ///
    /// # Errors
    /// [`CheckpointError`] for a text that is none, or that another key signed.
    pub fn check(&self, text: &str) -> Result<Checkpoint, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let (body, signatures) = text
            .split_once("\n\n")
            .ok_or(malformed("it has no signature"))?;
        let mut lines = body.lines();
        let (Some(name), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed("it is too short"));
        };
        if name != self.name {
            return Err(CheckpointError::Signature(self.name.clone()));
        }
        let records = size
            .parse()
            .map_err(|_| malformed("its number of records"))?;
        let root = BASE64_STANDARD.decode(root);
        let root = root.map_err(|_| malformed("its hash"))?;
        let root = root.try_into().map_err(|_| malformed("its hash"))?;
        let signed = format!("{body}\n");
        let own = |line: &str| {
            let line = line.strip_prefix("— ")?.strip_prefix(&self.name)?;
            let bytes = BASE64_STANDARD.decode(line.strip_prefix(' ')?).ok()?;
            let (id, signature) = bytes.split_at_checked(4)?;
            let signature = Signature::from_slice(signature).ok()?;
            let strict = self.key.verify_strict(signed.as_bytes(), &signature);
            (id == self.id() && strict.is_ok()).then_some(())
        };
        if signatures.lines().find_map(own).is_none() {
            return Err(CheckpointError::Signature(self.name.clone()));
        }
        Ok(Checkpoint {
            records,
            root,
            text: text.to_owned(),
        })
    }

    /// The first bytes of a signature: which key it is, as a signed note has it.
    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        let [a, b, c, d, ..]: Hash = hash.into();
        [a, b, c, d]
    }
}

impl Checkpoint {
    /// How many records it stands for.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn root(&self) -> &Hash {
        &self.root
    }
}

/// The signed text.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn clean(name: &str) -> Result<String, CheckpointError> {
    let visible = name.chars().all(|c| c.is_ascii_graphic() && c != '+');
    if visible && (1..=100).contains(&name.len()) {
        Ok(name.to_owned())
    } else {
        Err(CheckpointError::Name)
    }
}

/// The checkpoint that a trail is held against, and the root of its tree at that number of records.
pub(super) struct Signed<'a> {
    checkpoint: Option<&'a Checkpoint>,
    root: Option<Hash>,
}

impl<'a> Signed<'a> {
    /// Held against this checkpoint, if there is one, from this chain on.
    pub(super) fn to(checkpoint: Option<&'a Checkpoint>, chain: &Chain) -> Self {
        let mut signed = Self {
            checkpoint,
            root: None,
        };
        signed.look(chain);
        signed
    }

    pub(super) fn look(&mut self, chain: &Chain) {
        if self
            .checkpoint
            .is_some_and(|signed| signed.records() == chain.link.records)
        {
            self.root = chain.tree.as_ref().map(Tree::root);
        }
    }

    pub(super) fn holds(&self, chain: &Chain) -> Result<(), AuditError> {
        let Some(signed) = self.checkpoint else {
            return Ok(());
        };
        match self.root {
            None => Err(damaged(
                "",
                chain.link.records + 1,
                format!(
                    "it is missing: the checkpoint stands for {} records",
                    signed.records()
                ),
            )),
            Some(root) if root != *signed.root() => Err(damaged(
                "",
                signed.records(),
                "the checkpoint stands for other records up to here",
            )),
            Some(_) => Ok(()),
        }
    }
}
