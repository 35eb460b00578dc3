//! The page: three files in the program itself, so that nothing has to be built or fetched.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::host::Host;

async fn html() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, include_str!("../page/index.html"))
}

async fn css() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("../page/app.css"))
}

async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("../page/app.js"))
}

async fn icon() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "image/svg+xml")],
        include_str!("../page/icon.svg"),
    )
}

pub(crate) fn routes() -> Router<Host> {
    Router::new()
        .route("/", get(html))
        .route("/app.css", get(css))
        .route("/app.js", get(script))
        .route("/icon.svg", get(icon))
}
