//! Errors as `application/problem+json` (RFC 9457).

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Documented, SchemaObject};
use argus_core::{ApprovalError, AuditError, Problem, RemediatorError, ScanError};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// What went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Failure(Box<Told>);

/// What went wrong, for programs and for people.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct Told {
    /// The status of the response.
    status: u16,
    /// A few words.
    title: String,
    /// What went wrong and what to do, in a sentence.
    detail: String,
    /// A word that never changes.
    code: String,
    /// What else belongs to it, such as `violations`.
    #[serde(flatten)]
    details: Map<String, Value>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self(Box::new(Told {
            status: status.as_u16(),
            title: title.to_owned(),
            detail: detail.into(),
            code: code.to_owned(),
            details: Map::new(),
        }))
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what}"),
        )
    }

    pub(crate) fn stale(what: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "stale", what)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = match problem.code {
            "denied" | "disabled" | "missing_permissions" | "not_approved" => StatusCode::FORBIDDEN,
            "stale" | "not_undoable" | "not_unfinished" => StatusCode::CONFLICT,
            "busy" => StatusCode::LOCKED,
            "manual_steps" => StatusCode::UNPROCESSABLE_ENTITY,
            "dry_run_failed" if !problem.retryable => StatusCode::UNPROCESSABLE_ENTITY,
            "over_budget" => StatusCode::TOO_MANY_REQUESTS,
            "no_plan" => StatusCode::BAD_GATEWAY,
            "dry_run_failed" | "scan_failed" | "halted" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut failure = Self::new(status, problem.code, problem.message);
        failure.0.details = problem.details;
        failure
    }
}

impl From<RemediatorError> for Failure {
    fn from(error: RemediatorError) -> Self {
        Problem::from(&error).into()
    }
}

impl From<ApprovalError> for Failure {
    fn from(error: ApprovalError) -> Self {
        Problem::from(&error).into()
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Problem::new("audit_failed", &error).into()
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        Problem::new("scan_failed", &error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl OperationOutput for Failure {
    type Inner = Self;

    fn operation_response(context: &mut GenContext, _: &mut Operation) -> Option<Documented> {
        let content = MediaType {
            schema: Some(SchemaObject {
                json_schema: context.schema.subschema_for::<Self>(),
                external_docs: None,
                example: None,
            }),
            ..MediaType::default()
        };
        Some(Documented {
            description: "why not, for programs and for people".into(),
            content: [("application/problem+json".to_owned(), content)].into(),
            ..Documented::default()
        })
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<aide::openapi::StatusCode>, Documented)> {
        let response = Self::operation_response(context, operation);
        response
            .map(|response| (None, response))
            .into_iter()
            .collect()
    }
}
