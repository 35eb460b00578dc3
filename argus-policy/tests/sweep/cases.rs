//! Cases of a kind: each field of its schema set, changed and removed on objects that are there.

use serde_json::{Value, json};

use super::edit::{Change, Edit, Step};
use super::schema::{Document, Node, Segment, is_list, is_map, is_object, merge_key, text};
use super::values::{self, Values};

/// An object of the cluster that the cases change.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) object: Value,
}

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Set,
    Change,
    Remove,
    Append,
    Reorder,
}

/// One edit of one of the fixtures.
pub(crate) struct Try {
    pub(crate) fixture: usize,
    pub(crate) edit: Edit,
    /// How much of the path was there already.
    pub(crate) depth: usize,
}

/// What is done to one field, by several values.
pub(crate) struct Group {
    pub(crate) field: String,
    pub(crate) op: Op,
    /// For each value where it may be tried, the best place first.
    pub(crate) each: Vec<Vec<Try>>,
    /// The same for values of which one is enough.
    pub(crate) one_of: Vec<Vec<Try>>,
}

/// Pods of a template have none: the API server refuses any.
const NOT_OF_TEMPLATES: &str = "ephemeralContainers[*]";

/// How many places of one depth a field that is nowhere is tried at.
const MOST_ENDS: usize = 2;

/// A place in a fixture where a field is.
struct Place {
    fixture: usize,
    steps: Vec<Step>,
    value: Value,
}

/// The cases of one kind.
pub(crate) struct Kinds<'a> {
    document: &'a Document,
    nodes: &'a [Node],
    fixtures: &'a [Fixture],
}

impl<'a> Kinds<'a> {
    pub(crate) fn new(document: &'a Document, nodes: &'a [Node], fixtures: &'a [Fixture]) -> Self {
        Self {
            document,
            nodes,
            fixtures,
        }
    }

    pub(crate) fn groups(&self) -> Vec<Group> {
        let indices = 1..self.nodes.len();
        indices.flat_map(|index| self.of_node(index)).collect()
    }

    /// The nodes from the kind itself to this one.
    fn chain(&self, index: usize) -> Vec<&'a Node> {
        let next = |index: &usize| self.nodes[*index].parent;
        let up = std::iter::successors(Some(index), next);
        let mut chain: Vec<&Node> = up.map(|index| &self.nodes[index]).collect();
        chain.reverse();
        chain
    }

    fn of_node(&self, index: usize) -> Vec<Group> {
        let chain = self.chain(index);
        let node = &self.nodes[index];
        let field = text(&node.path);
        if field.contains(NOT_OF_TEMPLATES) {
            return Vec::new();
        }
        let places = self.places(&chain);
        let schema = &node.schema;
        let mut groups = Vec::new();
        let mut add = |op, each: Vec<Vec<Try>>, one_of: Vec<Vec<Try>>| {
            let group = Group {
                field: field.clone(),
                op,
                each,
                one_of,
            };
            groups.push(group);
        };
        let is_leaf = !is_object(schema) && !is_list(schema) && !is_map(schema);
        if node.path.last() == Some(&Segment::Value) {
            self.of_keys(&chain, &places, &mut add);
        } else if places.is_empty() {
            let values = if is_leaf {
                values::of_leaf(&node.path, schema, None)
            } else {
                let least = values::least(self.document, &node.path, schema);
                Values {
                    each: vec![least],
                    ..Values::default()
                }
            };
            let tries = |values: &[Value]| {
                values
                    .iter()
                    .map(|value| self.setting(&chain, value))
                    .collect()
            };
            add(Op::Set, tries(&values.each), tries(&values.one_of));
        } else if is_leaf {
            let values = values::of_leaf(&node.path, schema, Some(&places[0].value));
            let tries =
                |values: &[Value]| values.iter().map(|value| putting(&places, value)).collect();
            add(Op::Change, tries(&values.each), tries(&values.one_of));
        } else if is_object(schema) {
            let least = values::least(self.document, &node.path, schema);
            add(Op::Change, vec![putting(&places, &least)], Vec::new());
        } else if is_map(schema) {
            add(Op::Change, vec![putting(&places, &json!({}))], Vec::new());
        } else {
            self.of_list(node, &places, &mut add);
        }
        let is_element = node.path.last() == Some(&Segment::Element);
        if !places.is_empty()
            && node.path.last() != Some(&Segment::Value)
            && !(is_element && is_leaf)
        {
            add(
                Op::Remove,
                vec![each_of(&places, |_| Change::Remove, false)],
                Vec::new(),
            );
        }
        groups
    }

    /// Elements added, all taken away, and in another order.
    fn of_list(
        &self,
        node: &Node,
        places: &[Place],
        add: &mut impl FnMut(Op, Vec<Vec<Try>>, Vec<Vec<Try>>),
    ) {
        let merges = merge_key(&node.schema).is_some();
        let mut path = node.path.clone();
        path.push(Segment::Element);
        let item = self.document.below(&node.schema, &Segment::Element);
        let values = if is_object(&item) {
            let least = values::least(self.document, &path, &item);
            Values {
                each: vec![least],
                ..Values::default()
            }
        } else {
            values::of_leaf(&path, &item, None)
        };
        let tries = |values: &[Value]| {
            let append = |value: &Value| each_of(places, |_| Change::Append(value.clone()), merges);
            values.iter().map(append).collect()
        };
        add(Op::Append, tries(&values.each), tries(&values.one_of));
        add(
            Op::Change,
            vec![each_of(places, |_| Change::Put(json!([])), merges)],
            Vec::new(),
        );
        let several = places
            .iter()
            .filter(|place| place.value.as_array().is_some_and(|items| items.len() > 1));
        let reversed = several.map(|place| {
            let mut items = place.value.as_array().cloned().unwrap_or_default();
            items.reverse();
            let edit = Edit {
                steps: place.steps.clone(),
                change: Change::Put(items.into()),
                merges,
            };
            Try {
                fixture: place.fixture,
                edit,
                depth: 0,
            }
        });
        let reversed: Vec<Try> = reversed.collect();
        if !reversed.is_empty() {
            add(Op::Reorder, vec![reversed], Vec::new());
        }
    }

    /// Keys of a map: new ones, and those that are there changed and removed.
    fn of_keys(
        &self,
        chain: &[&Node],
        places: &[Place],
        add: &mut impl FnMut(Op, Vec<Vec<Try>>, Vec<Vec<Try>>),
    ) {
        let Some((node, parents)) = chain.split_last() else {
            return;
        };
        let map_path = &parents.last().unwrap().path;
        let map = self.places(parents);
        let other = values::of_leaf(&node.path, &node.schema, None);
        let other: Vec<Value> = other.each.into_iter().chain(other.one_of).collect();
        let mut new = Vec::new();
        for (key, value) in values::keys(map_path, &other[0]) {
            if map.is_empty() {
                new.push(self.setting(parents, &json!({ key: value })));
                continue;
            }
            let without = map
                .iter()
                .filter(|place| place.value.get(&key) != Some(&value));
            // Where one isn't taken the next is tried.
            let put = without.enumerate().map(|(index, place)| {
                let mut steps = place.steps.clone();
                steps.push(Step::Field(key.clone()));
                Try {
                    fixture: place.fixture,
                    edit: Edit {
                        steps,
                        change: Change::Put(value.clone()),
                        merges: false,
                    },
                    depth: map.len() - index,
                }
            });
            new.push(put.collect());
        }
        add(Op::Set, new, Vec::new());
        // Each key that is there stands for itself.
        let mut seen: Vec<&Step> = Vec::new();
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for place in places {
            let key = place.steps.last().unwrap();
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let of_key: Vec<Place> = places
                .iter()
                .filter(|other| other.steps.last() == Some(key))
                .map(Place::copied)
                .collect();
            let value = other.iter().find(|value| **value != place.value);
            changed.push(putting(&of_key, value.unwrap_or(&Value::Null)));
            removed.push(each_of(&of_key, |_| Change::Remove, false));
        }
        if !changed.is_empty() {
            add(Op::Change, changed, Vec::new());
            add(Op::Remove, removed, Vec::new());
        }
    }

    /// Where the field is in the fixtures: in each the first, of a map's values each.
    fn places(&self, chain: &[&Node]) -> Vec<Place> {
        let mut places = Vec::new();
        for (fixture, Fixture { object, .. }) in self.fixtures.iter().enumerate() {
            let mut open = vec![(0, Vec::new(), object)];
            let all = chain.last().and_then(|node| node.path.last()) == Some(&Segment::Value);
            while let Some((depth, steps, value)) = open.pop() {
                let Some(segment) = chain.last().unwrap().path.get(depth) else {
                    places.push(Place {
                        fixture,
                        steps,
                        value: value.clone(),
                    });
                    if all {
                        continue;
                    }
                    break;
                };
                let below = children(&chain[depth].schema, segment, value);
                for (step, value) in below.into_iter().rev() {
                    let steps: Vec<Step> = steps.iter().cloned().chain([step]).collect();
                    open.push((depth + 1, steps, value));
                }
            }
        }
        places
    }

    /// Ways to give a field that is nowhere a value: below what is there of its path, the most first; then in elements of
    /// their own.
    fn setting(&self, chain: &[&Node], leaf: &Value) -> Vec<Try> {
        let path = &chain.last().unwrap().path;
        let way = |(fixture, depth, steps): (usize, usize, Vec<Step>)| {
            let inner = chain[depth + 1];
            let rest = &path[depth + 1..];
            let new = values::built(self.document, &inner.path, &inner.schema, rest, leaf);
            let below = |name: String| steps.iter().cloned().chain([Step::Field(name)]).collect();
            let edit = match &path[depth] {
                Segment::Field(name) => Edit {
                    steps: below(name.clone()),
                    change: Change::Put(new),
                    merges: false,
                },
                Segment::Element => Edit {
                    steps,
                    change: Change::Append(new),
                    merges: merge_key(&chain[depth].schema).is_some(),
                },
                Segment::Value => Edit {
                    steps: below(values::keys(&chain[depth].path, &new).remove(0).0),
                    change: Change::Put(new),
                    merges: false,
                },
            };
            Try {
                fixture,
                edit,
                depth,
            }
        };
        self.ends(chain).into_iter().map(way).collect()
    }

    /// Where the path of a field that is nowhere ends in the fixtures, the deepest first, a few of each depth.
    fn ends(&self, chain: &[&Node]) -> Vec<(usize, usize, Vec<Step>)> {
        let path = &chain.last().unwrap().path;
        let mut ends: Vec<(usize, usize, Vec<Step>)> = Vec::new();
        for (fixture, Fixture { object, .. }) in self.fixtures.iter().enumerate() {
            let mut open = vec![(0, Vec::new(), object)];
            while let Some((depth, steps, value)) = open.pop() {
                let below = children(&chain[depth].schema, &path[depth], value);
                let known = ends.iter().filter(|(_, other, _)| *other == depth);
                if (below.is_empty() || path[depth] == Segment::Element)
                    && known.count() < MOST_ENDS
                {
                    ends.push((fixture, depth, steps.clone()));
                }
                for (step, value) in below.into_iter().rev() {
                    if depth + 1 < path.len() {
                        let steps: Vec<Step> = steps.iter().cloned().chain([step]).collect();
                        open.push((depth + 1, steps, value));
                    }
                }
            }
        }
        ends.sort_by_key(|(_, depth, _)| std::cmp::Reverse(*depth));
        ends.truncate(2 * MOST_ENDS);
        ends
    }
}

impl Place {
    fn copied(&self) -> Self {
        Self {
            fixture: self.fixture,
            steps: self.steps.clone(),
            value: self.value.clone(),
        }
    }
}

/// What is one segment below a value.
fn children<'v>(schema: &Value, segment: &Segment, value: &'v Value) -> Vec<(Step, &'v Value)> {
    match (segment, value) {
        (Segment::Field(name), Value::Object(fields)) => {
            let value = fields.get(name).filter(|value| !value.is_null());
            value
                .map(|value| (Step::Field(name.clone()), value))
                .into_iter()
                .collect()
        }
        (Segment::Element, Value::Array(items)) => {
            let key = merge_key(schema);
            let step = |(index, item): (usize, &'v Value)| {
                let named = key.and_then(|key| Some((key.to_owned(), item.get(key)?.clone())));
                (Step::Element(index, named), item)
            };
            items.iter().enumerate().map(step).collect()
        }
        (Segment::Value, Value::Object(fields)) => {
            let step = |(name, value): (&String, &'v Value)| (Step::Field(name.clone()), value);
            fields.iter().map(step).collect()
        }
        _ => Vec::new(),
    }
}

fn each_of(places: &[Place], change: impl Fn(&Place) -> Change, merges: bool) -> Vec<Try> {
    let edit = |place: &Place| Edit {
        steps: place.steps.clone(),
        change: change(place),
        merges,
    };
    places
        .iter()
        .map(|place| Try {
            fixture: place.fixture,
            edit: edit(place),
            depth: 0,
        })
        .collect()
}

/// The value at each place that has another.
fn putting(places: &[Place], value: &Value) -> Vec<Try> {
    let other = places.iter().filter(|place| place.value != *value);
    let edit = |place: &Place| Edit {
        steps: place.steps.clone(),
        change: Change::Put(value.clone()),
        merges: false,
    };
    other
        .map(|place| Try {
            fixture: place.fixture,
            edit: edit(place),
            depth: 0,
        })
        .collect()
}
