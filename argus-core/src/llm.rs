//! Providers of plans.

mod playbook;
pub use playbook::Playbook;

mod fallback;
pub use fallback::Fallback;

mod throttle;
pub use throttle::Throttle;

mod cache;
pub use cache::Cache;

mod anonymous;
pub use anonymous::Anonymous;

mod recorded;
pub use recorded::{Recorder, Replay};

#[cfg(feature = "genai")]
mod genai;
#[cfg(feature = "genai")]
mod lowered;
#[cfg(feature = "genai")]
mod wire;
#[cfg(feature = "genai")]
pub use genai::{GenAi, GenAiOptions};
#[cfg(feature = "genai")]
pub use wire::{NoWire, Wire};
