//! A sweep by schema: every field of the kinds that Argus may patch, as the API server's own OpenAPI document has them,
//! set, changed and removed by each kind of patch, through the ordinary pipeline on the real API server.
//!
//! - By default nothing passes but what is listed in the table of allowed changes.
//! - Where a host allows high risk, nothing passes of what never may ([`oracle`]).
//! - The same patches with a stolen token of Argus' account, which has every right: the admission policies let pass only what
//!   the table lists ([`stolen`]).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod cases;
mod edit;
mod oracle;
mod pipeline;
mod pod_security;
mod report;
mod run;
mod schema;
mod stolen;
mod table;
mod values;
#[path = "../walk/world.rs"]
#[allow(dead_code, reason = "the tests of `walk` use the rest of it")]
mod world;

use report::Report;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_but_what_is_listed() {
    let Some(world) = World::real().await else {
        return;
    };
    let report = Report::new(run::sweep(&world).await);
    run::remove_fixtures(&world).await;
    world.end().await;
    report.print();
    report.check();
}
