//! Room 3, first half: the untrusted text of a [`Completion`] becomes a draft that follows its schema, or an error that names the
//! place.

use jsonschema::Validator;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::json::{JsonError, from_json};
use crate::prompt::Completion;
use crate::redact::redact;

/// The largest answer of a model that is read, in bytes.
pub const MAX_COMPLETION_BYTES: usize = 256 * 1024;

/// Why an answer can't be read. The text tells a model, or a person, what to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// More than [`MAX_COMPLETION_BYTES`].
    #[error("the answer has {0} bytes, at most {MAX_COMPLETION_BYTES} are read")]
    TooLarge(usize),
    /// Not one JSON object; the text says where it breaks off.
    #[error("the answer is not one JSON object: {0}")]
    NotJson(String),
    /// JSON of another shape.
    #[error("the answer does not follow the schema{}: {problem}", if place.is_empty() { String::new() } else { format!(" at `{place}`") })]
    Schema {
        /// A JSON pointer, empty for the whole.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

/// What holds an answer against the schema of its type.
pub(crate) fn validator<T: JsonSchema>() -> Option<Validator> {
    jsonschema::validator_for(schemars::schema_for!(T).as_value()).ok()
}

/// Reads an answer; what stands around its one JSON object is left out, and nothing in it is mended.
pub(crate) fn read<T: DeserializeOwned>(
    completion: &Completion,
    schema: Option<&Validator>,
) -> Result<T, AnswerError> {
    if completion.text().len() > MAX_COMPLETION_BYTES {
        return Err(AnswerError::TooLarge(completion.text().len()));
    }
    let json = from_json(unwrapped(completion.text())).map_err(|error| match error {
        JsonError::Syntax(problem) => AnswerError::NotJson(redact(&problem)),
        JsonError::Value { place, problem } => AnswerError::Schema { place, problem },
    })?;
    follow(&json, schema)?;
    serde_path_to_error::deserialize(json).map_err(|error| AnswerError::Schema {
        place: pointer(error.path()),
        problem: redact(&error.inner().to_string()),
    })
}

/// Models like to think aloud first, to wrap JSON into a Markdown fence, and to say something before and after: that is taken off,
/// and what is left has to be one JSON object.
fn unwrapped(text: &str) -> &str {
    let text = text.trim_start();
    let thought = text.strip_prefix("<think>");
    let text = thought
        .and_then(|thought| thought.split_once("</think>"))
        .map_or(text, |(_, said)| said);
    match (text.find('{'), text.rfind('}')) {
        (Some(start), Some(end)) => text.get(start..=end).unwrap_or(text),
        // Cut off, or no JSON at all: as it is, so that the error says where.
        (Some(start), None) => text.get(start..).unwrap_or(text),
        _ => text,
    }
}

fn follow(json: &Value, schema: Option<&Validator>) -> Result<(), AnswerError> {
    let Some(schema) = schema else {
        return Err(AnswerError::Schema {
            place: String::new(),
            problem: "the schema itself does not compile".into(),
        });
    };
    match schema.iter_errors(json).next() {
        None => Ok(()),
        Some(error) => Err(AnswerError::Schema {
            place: error.instance_path().to_string(),
            problem: redact(&error.to_string()),
        }),
    }
}

/// A path as the schema's errors name it.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let shown = |segment: &serde_path_to_error::Segment| format!("/{segment}");
    let text: String = path.iter().map(shown).collect();
    text.replace(['[', ']'], "")
}
