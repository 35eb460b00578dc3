//! How requests are read and answers are written, so that what is wrong with either is a [`Failure`] like any other.

use std::convert::Infallible;
use std::marker::PhantomData;

use aide::generate::GenContext;
use aide::openapi::Operation;
use aide::{OperationInput, OperationOutput};
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::Failure;

/// How many findings, incidents or workloads an answer holds, and how many at most.
const DEFAULT_PART: usize = 50;
const MAX_PART: usize = 1_000;

pub(super) type Answered<T> = Result<Json<T>, Failure>;

/// Which part of long lists an answer has.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Part {
    /// How many are left out first.
    offset: usize,
    /// How many there are at most; 50 by default, 1,000 at most.
    limit: Option<usize>,
}

impl Part {
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        let limit = self.limit.unwrap_or(DEFAULT_PART).min(MAX_PART);
        let rest = all.get(self.offset..).unwrap_or_default();
        rest.get(..limit).unwrap_or(rest)
    }
}

/// A body of JSON; what is wrong with it is a [`Failure`] like any other.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let read = Json::from_request(request, state).await;
        let Json(value) =
            read.map_err(|error| Failure::new(error.status(), "bad_request", error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: JsonSchema> OperationInput for Body<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Json::<T>::operation_input(context, operation);
    }
}

/// An answer that was written while what it is about could not change; for the description of the routes it is JSON like any other.
pub(super) struct Written<T>(Result<Vec<u8>, serde_json::Error>, PhantomData<T>);

impl<T> Written<T> {
    pub(super) fn of(answer: &impl Serialize) -> Self {
        Self(serde_json::to_vec(answer), PhantomData)
    }
}

impl<T> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        match self.0 {
            Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Failure::new(status, "internal", error.to_string()).into_response()
            }
        }
    }
}

impl<T: JsonSchema> OperationOutput for Written<T> {
    type Inner = T;

    fn operation_response(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Option<aide::openapi::Response> {
        Json::<T>::operation_response(context, operation)
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<aide::openapi::StatusCode>, aide::openapi::Response)> {
        Json::<T>::inferred_responses(context, operation)
    }
}

/// A query; the same.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = Query::from_request_parts(parts, state).await;
        let Query(value) =
            read.map_err(|error| Failure::new(error.status(), "bad_request", error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: JsonSchema> OperationInput for Asked<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Query::<T>::operation_input(context, operation);
    }
}

/// The header `Idempotency-Key`: two requests with one key are one execution.
pub(super) struct Key(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let key = parts.headers.get("idempotency-key");
        let key = key.and_then(|key| key.to_str().ok());
        Ok(Self(key.filter(|key| key.len() <= 128).map(str::to_owned)))
    }
}

impl OperationInput for Key {}
