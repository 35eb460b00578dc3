//! One edit of an object, written as each kind of patch.

use serde_json::{Map, Value, json};

/// One part of a path in an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Field(String),
    /// An element, with the field and value by which a strategic patch finds it.
    Element(usize, Option<(String, Value)>),
}

/// What becomes of the place.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put(Value),
    Remove,
    /// A new element at the end; the place is a list that is there.
    Append(Value),
}

#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) steps: Vec<Step>,
    pub(crate) change: Change,
    /// Whether a strategic patch merges the list that is appended to, or that the place is.
    pub(crate) merges: bool,
}

impl Edit {
    pub(crate) fn json(&self, object: &Value) -> Option<Value> {
        let path = pointer(&self.steps);
        let there = object.pointer(&path).is_some();
        Some(match &self.change {
            Change::Put(value) => {
                let op = if there { "replace" } else { "add" };
                json!([{ "op": op, "path": path, "value": value }])
            }
            Change::Remove => json!([{ "op": "remove", "path": path }]),
            Change::Append(value) => {
                json!([{ "op": "add", "path": format!("{path}/-"), "value": value }])
            }
        })
    }

    /// Lists are replaced as a whole, with everything that is in them now.
    pub(crate) fn merge(&self, object: &Value) -> Option<Value> {
        let list = self
            .steps
            .iter()
            .position(|step| matches!(step, Step::Element(..)));
        let (outside, value) = match (list, &self.change) {
            (None, Change::Put(value)) => (self.steps.as_slice(), value.clone()),
            (None, Change::Remove) => (self.steps.as_slice(), Value::Null),
            (None, Change::Append(_)) => (self.steps.as_slice(), self.after(object, &self.steps)?),
            (Some(index), _) => {
                let list = &self.steps[..index];
                (list, self.after(object, list)?)
            }
        };
        Some(nested(outside, value))
    }

    /// Elements are named by their key. None where it takes a directive, which Argus doesn't take.
    pub(crate) fn strategic(&self, object: &Value) -> Option<Value> {
        let whole = self
            .steps
            .iter()
            .position(|step| matches!(step, Step::Element(_, None)));
        if let Some(index) = whole {
            let list = &self.steps[..index];
            return Some(nested(list, self.after(object, list)?));
        }
        let value = match &self.change {
            Change::Remove if matches!(self.steps.last(), Some(Step::Element(..))) => return None,
            Change::Remove => Value::Null,
            // An element that isn't named is left as it is.
            Change::Put(Value::Array(_)) if self.merges => return None,
            Change::Put(value) => value.clone(),
            Change::Append(value) if self.merges => json!([value]),
            Change::Append(_) => self.after(object, &self.steps)?,
        };
        let is_key = |step: &Step, field: &Step| matches!((step, field), (Step::Element(_, Some((key, _))), Step::Field(name)) if key == name);
        let last_two = self.steps.len().checked_sub(2);
        let last_two = last_two.and_then(|start| self.steps.get(start..));
        if last_two.is_some_and(|two| is_key(&two[0], &two[1])) {
            return None;
        }
        Some(nested(&self.steps, value))
    }

    /// What stands at a place after the edit.
    fn after(&self, object: &Value, place: &[Step]) -> Option<Value> {
        let mut after = object.clone();
        let (last, parents) = self.steps.split_last()?;
        let parent = after.pointer_mut(&pointer(parents))?;
        match (&self.change, last, parent) {
            (Change::Put(value), Step::Field(name), Value::Object(fields)) => {
                fields.insert(name.clone(), value.clone());
            }
            (Change::Remove, Step::Field(name), Value::Object(fields)) => {
                fields.remove(name);
            }
            (Change::Put(value), Step::Element(index, _), Value::Array(items)) => {
                *items.get_mut(*index)? = value.clone();
            }
            (Change::Remove, Step::Element(index, _), Value::Array(items)) => {
                items.remove(*index);
            }
            (Change::Append(value), _, parent) => {
                let list = match last {
                    Step::Field(name) => parent.get_mut(name)?,
                    Step::Element(index, _) => parent.get_mut(*index)?,
                };
                list.as_array_mut()?.push(value.clone());
            }
            _ => return None,
        }
        after.pointer(&pointer(place)).cloned()
    }
}

pub(crate) fn pointer(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        path.push('/');
        match step {
            Step::Field(name) => path.push_str(&name.replace('~', "~0").replace('/', "~1")),
            Step::Element(index, _) => path.push_str(&index.to_string()),
        }
    }
    path
}

fn nested(steps: &[Step], value: Value) -> Value {
    steps
        .iter()
        .rev()
        .fold(value, |inner, step| match (step, inner) {
            (Step::Field(name), inner) => Value::Object(Map::from_iter([(name.clone(), inner)])),
            (Step::Element(_, key), Value::Object(mut fields)) => {
                if let Some((key, value)) = key {
                    fields.entry(key.clone()).or_insert_with(|| value.clone());
                }
                json!([fields])
            }
            (Step::Element(..), inner) => json!([inner]),
        })
}
