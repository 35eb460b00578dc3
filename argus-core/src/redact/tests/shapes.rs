//! No secret is left in any shape, in whatever text it stands.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{redact, redact_json};
use super::samples::{BENIGN, SHAPES, secret_of, written};

#[test]
fn what_only_says_where_a_secret_is_stays_as_it_is() {
    let changed: Vec<(&str, String)> = BENIGN
        .iter()
        .map(|text| (*text, redact(text)))
        .filter(|(text, kept)| text != kept)
        .collect();
    assert!(changed.is_empty(), "{changed:#?}");
    for text in BENIGN {
        let quoted = json!({ "log": text }).to_string();
        assert_eq!(redact(&quoted), quoted);
        assert_eq!(
            redact_json(json!({ "log": [text] })),
            json!({ "log": [text] })
        );
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            assert_eq!(redact_json(value.clone()), value);
        }
    }
}

/// The texts that a shape may stand in.
fn carriers(text: &str) -> [String; 7] {
    let quoted = json!({ "log": text }).to_string();
    [
        text.to_owned(),
        format!("2026-11-26T09:00:00Z ERROR it's broken (really):\n{text}\nand so on"),
        format!("event: {text}"),
        format!(
            "a: 1\nb:\n  config: |\n    {}\n",
            text.replace('\n', "\n    ")
        ),
        quoted.clone(),
        json!({ "once": { "more": quoted } }).to_string(),
        format!("msg={} level=info", json!(text)),
    ]
}

fn check(shape: usize, secret: &str) -> Result<(), TestCaseError> {
    let (template, letters) = SHAPES[shape];
    let secret = written(secret, letters);
    let text = template.replace('§', &secret);
    for carrier in carriers(&text) {
        let kept = redact(&carrier);
        // However often it is escaped, its letters without what is escaped are in their order.
        let bare = |text: &str| text.replace('\\', "");
        prop_assert!(
            !bare(&kept).contains(&bare(&secret)),
            "{carrier}\n-> {kept}"
        );
        prop_assert_eq!(redact(&kept), kept, "once is enough");
    }
    let lines: Vec<&str> = text.lines().collect();
    let in_json = json!({ "raw": { "text": text, "lines": lines, "json": serde_json::from_str::<Value>(&text).ok() } });
    let kept = redact_json(in_json).to_string();
    let bare = |text: &str| text.replace('\\', "");
    prop_assert!(!bare(&kept).contains(&bare(&secret)), "{text}\n-> {kept}");
    Ok(())
}

#[test]
fn a_plain_secret_is_gone_from_every_shape() {
    let failed: Vec<String> = (0..SHAPES.len())
        .filter_map(|shape| check(shape, "h7Gq2xW9").err())
        .map(|error| error.to_string())
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        SHAPES.len(),
        failed.join("\n\n")
    );
}

proptest! {
    #[test]
    fn a_secret_is_gone_from_every_shape(
        (shape, secret) in (0..SHAPES.len()).prop_flat_map(|shape| (Just(shape), secret_of(SHAPES[shape].1)))
    ) {
        check(shape, &secret)?;
    }

    /// Whatever is in brackets, quotes and lines, redaction comes to an end and gives no other text for its own.
    #[test]
    fn any_structure_is_read(text in "([ \n\t\\\\\"'{}\\[\\]():=,|>&<-]|password|name|value|kind: Secret|data|x1){0,120}") {
        let kept = redact(&text);
        prop_assert!(kept.len() <= 20 * text.len() + 20);
    }
}
