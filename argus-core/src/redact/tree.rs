//! JSON, and what is written in a text, as one tree, so that the same rules say what of it is a secret.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

/// A part of a text or of JSON.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// A text, a number or a word.
    Scalar {
        /// The text, as it stands there.
        text: Cow<'a, str>,
        /// Its place: bytes of the text, or the number of the scalar in JSON.
        at: Range<usize>,
    },
    /// An object or a list; in Go's text and in YAML one may look like the other.
    Group {
        /// The name of its type, where Go writes one before it.
        kind: Option<&'a str>,
        /// What it holds; what a list holds has no name.
        entries: Vec<(Option<Cow<'a, str>>, Node<'a>)>,
        /// Its place.
        at: Range<usize>,
        /// Whether the text ends before it does.
        cut: bool,
    },
}

impl<'a> Node<'a> {
    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => Some(text),
            Self::Group { .. } => None,
        }
    }

    /// The tree of JSON, whose scalars are numbered from `next` on in the order of the document.
    pub(super) fn of(value: &'a Value, next: &mut usize) -> Self {
        let start = *next;
        let entries = match value {
            Value::Array(items) => {
                let items = items.iter();
                items.map(|item| (None, Self::of(item, next))).collect()
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                let entry = |(key, value): (&'a String, &'a Value)| {
                    (Some(Cow::from(key.as_str())), Self::of(value, next))
                };
                fields.map(entry).collect()
            }
            scalar => {
                *next += 1;
                let text = scalar
                    .as_str()
                    .map_or_else(|| Cow::from(scalar.to_string()), Cow::from);
                return Self::Scalar {
                    text,
                    at: start..*next,
                };
            }
        };
        Self::Group {
            kind: None,
            entries,
            at: start..*next,
            cut: false,
        }
    }
}
