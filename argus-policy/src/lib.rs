//! The policy engine of Argus, on Rego.
//!
//! A *pack* is a folder with one Rego v1 package, `argus.packs.<name>`, and a manifest, `pack.yaml`, that lists its rule
//! ids. Its entry points are sets: `deny`, `manual`, `require_approval` and `warn` hold `{id, message, step, hint}`,
//! and `passed` holds the ids of the rules that looked and had nothing to say. For every id of the manifest that applies to a
//! plan the engine wants an answer, either in `passed` or in one of the others: a rule that says nothing, because a field is
//! misspelt or a value has another shape, is an error, and an error is never an allow. A folder can also be a Gatekeeper
//! template with its constraint.
#![forbid(unsafe_code)]

mod manifest;

mod clauses;

mod walk;

mod hoist;

mod lint;

mod shortcut;

mod reading;

mod gatekeeper;

mod rules;

mod pack;
pub use pack::{Pack, PackError};

mod signature;
pub use signature::{KeyError, PackKey, sign};

mod builtin;

mod suite;
pub use suite::{Suite, Test};

mod engine;
pub use engine::RegoEngine;

mod switch;
pub use switch::PolicySwitch;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
