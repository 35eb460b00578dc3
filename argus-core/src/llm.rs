//! Providers of plans.

mod playbook;
pub use playbook::Playbook;
