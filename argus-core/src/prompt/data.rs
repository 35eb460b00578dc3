//! An incident becomes the JSON that a model reads: whole where it fits, else the gravest findings in detail and the others in
//! short.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use crate::attempt::Attempt;
use crate::incident::{Finding, Incident};

/// The longest text of an incident in a prompt, in bytes: about six thousand tokens.
pub(super) const MAX_DATA: usize = 20_000;
/// The longest text of what was tried before, in bytes: about a thousand tokens.
const MAX_TRIED: usize = 4_000;
/// How long a text of it is at most, in characters.
const MAX_TRIED_TEXT: usize = 300;
/// How many findings are the gravest.
const GRAVEST: usize = 3;
/// How much is kept, tried one after another: the longest text in characters and the longest list, of the gravest findings and of
/// the others.
const LEVELS: [[(usize, usize); 2]; 5] = [
    [(2000, 50), (500, 10)],
    [(1000, 20), (300, 5)],
    [(500, 10), (150, 3)],
    [(300, 5), (80, 1)],
    [(120, 3), (60, 0)],
];

/// The incident as JSON of at most [`MAX_DATA`] bytes. What is cut says so.
pub(super) fn data(incident: &Incident) -> String {
    let Ok(mut whole) = serde_json::to_value(incident) else {
        // A clean incident serialises.
        return String::new();
    };
    without_empty(&mut whole);
    let text = whole.to_string();
    if text.len() <= MAX_DATA {
        return text;
    }
    let mut ranked: Vec<&Finding> = incident.findings().iter().collect();
    ranked.sort_by_key(|finding| {
        (
            Reverse(finding.severity),
            finding.cause.is_none(),
            finding.cause,
        )
    });
    let findings: Vec<Value> = ranked
        .iter()
        .filter_map(|finding| serde_json::to_value(finding).ok())
        .collect();
    let mut shortest = String::new();
    for level in LEVELS {
        let short = shortened(&whole, &findings, level, findings.len());
        if short.len() <= MAX_DATA {
            return short;
        }
        shortest = short;
    }
    // Too many to name them all: as many of the gravest as fit, and how many more there are.
    let [.., last] = LEVELS;
    let mut shown = findings.len();
    while shortest.len() > MAX_DATA && shown > 0 {
        shown = (shown * MAX_DATA / shortest.len()).min(shown - 1);
        shortest = shortened(&whole, &findings, last, shown);
    }
    shortest
}

/// What was tried before as JSON of at most [`MAX_TRIED`] bytes, the oldest first; what doesn't fit is left out, the oldest first.
pub(super) fn tried(history: &[Attempt]) -> Option<String> {
    let attempt = |attempt: &Attempt| {
        let steps = attempt.steps.iter().filter(|step| step.written);
        let commands: Vec<&str> = steps.map(|step| &*step.command).collect();
        let became = attempt.recovery.map(|recovery| json!(recovery));
        let mut value =
            json!({ "commands": commands, "recovery": became, "outcome": attempt.outcome });
        cut(&mut value, (MAX_TRIED_TEXT, 10));
        without_empty(&mut value);
        value
    };
    let mut attempts: Vec<Value> = history.iter().map(attempt).collect();
    while !attempts.is_empty() {
        let text = json!({ "tried_before": attempts }).to_string();
        if text.len() <= MAX_TRIED {
            return Some(text);
        }
        attempts.remove(0);
    }
    None
}

fn shortened(
    whole: &Value,
    findings: &[Value],
    [gravest, others]: [(usize, usize); 2],
    shown: usize,
) -> String {
    let mut incident = whole.clone();
    let diagnosis = incident.get_mut("diagnosis");
    diagnosis
        .into_iter()
        .for_each(|diagnosis| cut(diagnosis, gravest));
    let left_out = findings.len().saturating_sub(shown);
    let short = |(index, finding): (usize, &Value)| {
        let mut finding = finding.clone();
        cut(&mut finding, if index < GRAVEST { gravest } else { others });
        without_empty(&mut finding);
        finding
    };
    if let Some(incident) = incident.as_object_mut() {
        let findings = findings.iter().enumerate().take(shown);
        incident.insert("findings".into(), findings.map(short).collect());
        if left_out > 0 {
            incident.insert("findings_left_out".into(), left_out.into());
        }
    }
    incident.to_string()
}

/// Cuts texts and lists to what is kept.
fn cut(value: &mut Value, (text, list): (usize, usize)) {
    match value {
        Value::String(string) => {
            if let Some((end, _)) = string.char_indices().nth(text) {
                string.truncate(end);
                string.push_str(" [cut]");
            }
        }
        Value::Array(items) => {
            let more = items.len().saturating_sub(list);
            items.truncate(list);
            items.iter_mut().for_each(|item| cut(item, (text, list)));
            if more > 0 {
                items.push(format!("[{more} more]").into());
            }
        }
        Value::Object(fields) => {
            // What a finding always has stays; what its analyzer added is a list like any other.
            for name in ["raw_data", "metrics", "annotations", "labels"] {
                if let Some(Value::Object(added)) = fields.get_mut(name) {
                    let keep: Map<String, Value> =
                        std::mem::take(added).into_iter().take(list).collect();
                    *added = keep;
                }
            }
            fields
                .values_mut()
                .for_each(|value| cut(value, (text, list)));
        }
        _ => {}
    }
}

/// Takes out what says nothing.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(without_empty);
            fields.retain(|_, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
                Value::String(text) => !text.is_empty(),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding(id: usize, severity: &str, evidence: &Value) -> Value {
        json!({
            "finding_id": format!("F-{id}"), "category": "pod_health", "severity": severity, "title": format!("app-{id} crashes"),
            "description": "It ends soon after its start.", "target": format!("k8s://shop/app-{id}"), "infra_type": "kubernetes",
            "evidence": evidence, "raw_data": { "lines": evidence },
        })
    }

    fn incident(findings: &[Value]) -> Incident {
        let incident = json!({ "incident_id": "INC-1", "findings": findings });
        Incident::from_json(&incident.to_string()).unwrap()
    }

    #[test]
    fn what_fits_is_whole() {
        let incident = incident(&[finding(1, "high", &json!(["exit code 1"]))]);
        let read: Value = serde_json::from_str(&data(&incident)).unwrap();
        let mut whole = serde_json::to_value(&incident).unwrap();
        without_empty(&mut whole);
        assert_eq!(read, whole);
        assert!(read.get("resolved_at").is_none());
    }

    #[test]
    fn the_gravest_keep_the_most_and_what_is_cut_says_so() {
        let long: Vec<String> = (0..100)
            .map(|n| format!("line {n} {}", "x".repeat(200)))
            .collect();
        let mut findings: Vec<Value> = (0..20).map(|n| finding(n, "low", &json!(long))).collect();
        findings.push(finding(99, "critical", &json!(long)));
        let text = data(&incident(&findings));
        assert!(text.len() <= MAX_DATA, "{}", text.len());
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["findings"].as_array().unwrap().len(), 21);
        assert_eq!(read["findings"][0]["finding_id"], "F-99");
        let lines = |n: usize| read["findings"][n]["evidence"].as_array().unwrap().len();
        assert!(lines(0) > lines(20), "{} {}", lines(0), lines(20));
        assert!(text.contains("more]"));
    }

    #[test]
    fn the_newest_of_what_was_tried_is_told() {
        let attempt = |n: usize, words: &str| -> Attempt {
            let command = format!("kubectl delete pod/web-{n} -n shop");
            let steps = json!([{ "command": command, "written": true }, { "command": "kubectl never", "written": false }]);
            let attempt = json!({
                "plan_id": format!("PLAN-{n:032}"), "at": "2026-11-25T08:00:00Z", "steps": steps, "recovery": "persists", "outcome": words,
            });
            serde_json::from_value(attempt).unwrap()
        };
        assert_eq!(tried(&[]), None);
        let one = tried(&[attempt(1, "succeeded: done")]).unwrap();
        let commands = ["kubectl delete pod/web-1 -n shop"];
        let told =
            json!({ "commands": commands, "recovery": "persists", "outcome": "succeeded: done" });
        assert_eq!(
            serde_json::from_str::<Value>(&one).unwrap(),
            json!({ "tried_before": [told] })
        );
        let many: Vec<Attempt> = (0..20).map(|n| attempt(n, &"x".repeat(5000))).collect();
        let text = tried(&many).unwrap();
        assert!(text.len() <= MAX_TRIED, "{}", text.len());
        assert!(
            text.contains("web-19") && text.contains("web-13") && !text.contains("web-0"),
            "{text}"
        );
    }

    #[test]
    fn whatever_is_in_it_a_prompt_has_its_bound() {
        let words: Vec<String> = (0..50).map(|_| "\u{1F600}".repeat(2000)).collect();
        for many in [1, 2, 50] {
            let findings: Vec<Value> = (0..many)
                .map(|n| finding(n, "high", &json!(words[..1 + 40 / many / 2])))
                .collect();
            let text = data(&incident(&findings));
            assert!(text.len() <= MAX_DATA, "{many}: {}", text.len());
            assert!(text.contains("F-0"), "{many}");
        }
        let many: Vec<Value> = (0..500)
            .map(|n| finding(n, "high", &json!(["x"])))
            .collect();
        let text = data(&incident(&many));
        assert!(text.len() <= MAX_DATA, "{}", text.len());
        let read: Value = serde_json::from_str(&text).unwrap();
        let shown = read["findings"].as_array().unwrap().len();
        assert!(shown > 50, "{shown}");
        assert_eq!(read["findings_left_out"], 500 - shown);
    }
}
