//! The patches of the sweep, sent past Argus: with the token of its account, which may do everything, to an API server that
//! has the admission policies.

use argus_core::{Kind, PatchKind, Roles};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, Error};
use serde_json::{Value, json};

use super::cases::Fixture;
use super::oracle;
use super::table;
use super::world::World;

const BY_POLICY: &str = "ValidatingAdmissionPolicy";

/// What the API server does with a patch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stolen {
    /// It refuses it, whoever sends it.
    Server,
    /// One of the policies refuses it.
    Policy,
    /// It takes it, and nothing changes.
    Nothing,
    /// It takes it: the fields that changed and aren't listed, and what never may.
    Passed(Vec<String>),
}

/// Somebody who has the token.
pub(crate) struct Thief {
    client: Client,
    namespace: String,
}

impl Thief {
    /// Applies the policies, and waits until each is in force.
    pub(crate) async fn new(world: &World) -> Self {
        world.give_full_rights().await;
        let roles = Roles::new(&world.scope());
        let roles = Kind::ALL.into_iter().fold(roles, Roles::changing);
        for object in roles.admission(world.namespace(), "argus").unwrap() {
            world.create_any(&object).await;
        }
        let thief = Self {
            client: world.argus(),
            namespace: world.namespace().to_owned(),
        };
        let label = json!({ "metadata": { "labels": { "in-force": "yes" } } });
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Pod) {
            let api = thief.api(kind);
            let list = api.list(&Default::default()).await.unwrap();
            let name = list.items[0].metadata.name.clone().unwrap();
            let mut tries = 0;
            while !is_by_policy(&api.patch(&name, &tried(), &Patch::Merge(&label)).await) {
                tries += 1;
                assert!(tries < 150, "after half a minute no policy holds {kind}");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
        thief
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let types = GroupVersionKind::gvk(kind.group(), kind.version(), &kind.to_string());
        let resource = ApiResource::from_gvk_with_plural(&types, kind.plural());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// What becomes of one patch of an object; it is only tried.
    pub(crate) async fn patch(
        &self,
        kind: Kind,
        fixture: &Fixture,
        patch_kind: PatchKind,
        body: &Value,
    ) -> Stolen {
        let patch = match patch_kind {
            PatchKind::Json => match serde_json::from_value(body.clone()) {
                Ok(operations) => Patch::Json(operations),
                Err(_) => return Stolen::Server,
            },
            PatchKind::Merge => Patch::Merge(body.clone()),
            PatchKind::Strategic => Patch::Strategic(body.clone()),
        };
        let answer = self.api(kind).patch(&fixture.name, &tried(), &patch).await;
        if is_by_policy(&answer) {
            return Stolen::Policy;
        }
        let Ok(after) = answer else {
            return Stolen::Server;
        };
        let mut after = serde_json::to_value(after).unwrap();
        // Lists don't say them of their items.
        for field in ["apiVersion", "kind"] {
            after.as_object_mut().unwrap().remove(field);
        }
        let changed = table::changed(&fixture.object, &after);
        if changed.is_empty() {
            return Stolen::Nothing;
        }
        let mut wrong = oracle::never(&fixture.object, &after);
        if !table::is_listed(kind, &changed) {
            wrong.extend(changed.into_keys());
        }
        Stolen::Passed(wrong)
    }
}

fn tried() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::default()
    }
}

fn is_by_policy(answer: &Result<DynamicObject, Error>) -> bool {
    matches!(answer, Err(Error::Api(status)) if status.message.contains(BY_POLICY))
}
