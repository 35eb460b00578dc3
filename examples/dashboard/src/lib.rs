//! A host of Argus with a page: suggest a fix, understand it, apply it, see it fixed.
//!
//! It has no rule of its own. What may run is decided by the core and its policy; who may ask, by [`guard`].

mod api;
pub mod config;
pub mod demo;
pub mod guard;
mod host;
mod page;
mod problem;

pub use host::{About, Host, Telling};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The routes, for these users, under these names.
pub fn app(host: Host, guard: guard::Guard) -> Router {
    let pages = DefaultPredicate::new().and(NotForContentType::const_new("text/event-stream"));
    Router::new()
        .merge(page::routes())
        .merge(api::routes())
        .with_state(host)
        .merge(guard::routes(guard.clone()))
        .layer(from_fn_with_state(guard, guard::check))
        .layer(CompressionLayer::new().compress_when(pages))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guard::headers))
}
