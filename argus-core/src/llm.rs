//! Providers of plans.

mod playbook;
pub use playbook::Playbook;

#[cfg(feature = "genai")]
mod genai;
#[cfg(feature = "genai")]
mod wire;
#[cfg(feature = "genai")]
pub use genai::{GenAi, GenAiOptions, NoWire, Wire};
