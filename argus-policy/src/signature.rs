//! A pack's folder and a key become a signature, and a signature becomes trust: a host that names keys loads only packs
//! that one of them signed.

use std::path::Path;

use argus_core::Digest;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::pack::{File, Pack, PackError, read};
use crate::suite::Suite;

/// The file that holds a pack's signature, in hexadecimal digits.
const FILE: &str = "pack.sig";

/// An Ed25519 public key that a host trusts to sign packs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackKey(VerifyingKey);

impl PackKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// [`KeyError`] for anything else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_public_key_pem(text);
        key.map(Self)
            .map_err(|error| KeyError("public", error.to_string()))
    }

    /// Whether `text`, the content of a `pack.sig`, is this key's signature of the pack.
    pub(crate) fn signed(&self, pack: &Pack, text: &str) -> bool {
        let signature: Result<Signature, _> = text.trim().parse();
        signature.is_ok_and(|signature| {
            let message = message(pack.name(), pack.files_digest());
            self.0.verify_strict(message.as_bytes(), &signature).is_ok()
        })
    }
}

/// The text is no Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is no {0} Ed25519 key in PEM ({1}): make a pair with `openssl genpkey -algorithm ed25519`"
)]
pub struct KeyError(&'static str, String);

/// Signs the pack in `folder` with the private key `pem`, `-----BEGIN PRIVATE KEY-----`: writes its `pack.sig`. Its tests have to hold
/// it: hosts that want the signature don't run them again.
///
/// # Errors
/// [`PackError`] for a folder that is no pack, a pack that its tests don't hold, or a key that is none.
pub fn sign(folder: impl AsRef<Path>, pem: &str) -> Result<(), PackError> {
    let folder = folder.as_ref();
    let pack = Pack::load(folder)?;
    Suite::holds(&pack, folder)?;
    let key = SigningKey::from_pkcs8_pem(pem)
        .map_err(|error| PackError::Key(KeyError("private", error.to_string())))?;
    let signature = key.sign(message(pack.name(), pack.files_digest()).as_bytes());
    let path = folder.join(FILE);
    std::fs::write(&path, format!("{signature:x}\n")).map_err(|source| PackError::Io {
        path: path.display().to_string(),
        source,
    })
}

/// That one of the keys signed the pack in `folder`.
pub(crate) fn check(folder: &Path, pack: &Pack, keys: &[PackKey]) -> Result<(), PackError> {
    let found = read(folder, |name| name == FILE)?.pop();
    let by = |file: &File| keys.iter().any(|key| key.signed(pack, &file.text));
    if found.as_ref().is_some_and(by) {
        return Ok(());
    }
    Err(PackError::Unsigned(folder.display().to_string()))
}

fn message(name: &str, files: Digest) -> String {
    format!("argus pack\n{name}\n{files}\n")
}
