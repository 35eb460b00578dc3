//! An [`Action`] becomes the kubectl command that does the same, safe to paste into a POSIX shell.

use std::fmt::Write as _;

use crate::action::{Action, Amounts, PatchKind, Target};

pub(super) fn command(action: &Action) -> String {
    let line = |verb: &str, target: &Target| {
        format!(
            "kubectl {verb} {}/{} -n {}",
            target.kind().singular(),
            target.name(),
            target.namespace()
        )
    };
    match action {
        Action::RolloutRestart { target } => line("rollout restart", target),
        Action::Scale { target, replicas } => {
            format!("{} --replicas={replicas}", line("scale", target))
        }
        Action::SetResources {
            target,
            container,
            limits,
            requests,
        } => {
            let mut text = line("set resources", target);
            if let Some(container) = container {
                let _ = write!(text, " -c {container}");
            }
            for (flag, amounts) in [("limits", limits), ("requests", requests)] {
                if !amounts.is_empty() {
                    let _ = write!(text, " --{flag}={}", list(amounts));
                }
            }
            text
        }
        Action::SetImage { target, images } => {
            images
                .iter()
                .fold(line("set image", target), |mut text, (container, image)| {
                    let _ = write!(text, " {container}={image}");
                    text
                })
        }
        Action::Patch { target, patch } => format!(
            "{} --type={} -p {}",
            line("patch", target),
            patch.kind().as_str(),
            quote(&ascii(&patch.body().to_string(), patch.kind()))
        ),
        Action::DeletePod { target } => line("delete", target),
        Action::RolloutUndo {
            target,
            to_revision: None,
        } => line("rollout undo", target),
        Action::RolloutUndo {
            target,
            to_revision: Some(revision),
        } => format!("{} --to-revision={revision}", line("rollout undo", target)),
        Action::Manual { command, .. } => command.clone(),
    }
}

fn list(amounts: &Amounts) -> String {
    amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// `text` in single quotes.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// JSON text with everything beyond ASCII escaped, so that what is read is what runs.
///
/// kubectl reads a list as YAML, which has `\U` for what JSON writes as two escapes.
fn ascii(json: &str, kind: PatchKind) -> String {
    let mut units = [0; 2];
    json.chars()
        .fold(String::with_capacity(json.len()), |mut text, c| {
            if c.is_ascii() && c != '\u{7f}' {
                text.push(c);
            } else if kind == PatchKind::Json && u32::from(c) > 0xffff {
                let _ = write!(text, "\\U{:08x}", u32::from(c));
            } else {
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            text
        })
}
