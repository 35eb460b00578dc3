//! A permitted plan becomes the list of permissions that it needs and the host lacks, asked before anything starts.

use std::collections::BTreeSet;

use ::kube::Api;
use ::kube::api::PostParams;
use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};

use super::rbac::{READER, REMEDIATOR};
use super::{Kube, dry_run::dry_run_error};
use crate::action::{Action, Kind};
use crate::dry_run::DryRunError;
use crate::verdict::Permitted;

/// One thing that the host must be allowed to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
    namespace: String,
}

pub(super) async fn missing(kube: &Kube, plan: &Permitted) -> Result<Vec<String>, DryRunError> {
    let needed: BTreeSet<Permission> = plan
        .plan()
        .steps()
        .iter()
        .flat_map(|step| needed(step.action()))
        .collect();
    let reviews: Api<SelfSubjectAccessReview> = Api::all(kube.client.clone());
    let asked = needed.iter().map(|permission| {
        let reviews = reviews.clone();
        async move {
            let attributes = ResourceAttributes {
                verb: Some(permission.verb.into()),
                group: Some(permission.group.into()),
                resource: Some(permission.resource.into()),
                subresource: permission.subresource.map(Into::into),
                namespace: Some(permission.namespace.clone()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview {
                spec,
                ..SelfSubjectAccessReview::default()
            };
            let answer = reviews.create(&PostParams::default(), &review).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok((!allowed).then(|| permission.to_string()))
        }
    });
    let answers = try_join_all(asked).await.map_err(dry_run_error)?;
    Ok(answers.into_iter().flatten().collect())
}

/// What an action, its undo and waiting for it need.
fn needed(action: &Action) -> Vec<Permission> {
    let Some(target) = action.target() else {
        return Vec::new();
    };
    let kind = target.kind();
    let on = |verb, kind: Kind, subresource| Permission {
        verb,
        group: kind.group(),
        resource: kind.plural(),
        subresource,
        namespace: target.namespace().to_owned(),
    };
    let mut permissions = vec![on("get", kind, None)];
    match action {
        Action::Scale { .. } => permissions.push(on("patch", kind, Some("scale"))),
        Action::DeletePod { .. } => {
            let namespace = Permission {
                resource: "namespaces",
                ..on("get", kind, None)
            };
            permissions.extend([on("delete", kind, None), namespace]);
        }
        _ => permissions.push(on("patch", kind, None)),
    }
    if kind.rolls_out() || kind == Kind::Pod {
        permissions.extend([on("list", kind, None), on("watch", kind, None)]);
    }
    for (group, resource) in action.objects_read() {
        let read = |verb| Permission {
            verb,
            group,
            resource,
            subresource: None,
            namespace: target.namespace().to_owned(),
        };
        permissions.extend([read("list"), read("watch")]);
    }
    permissions
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(subresource) = self.subresource {
            write!(f, "/{subresource}")?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        let role = match self.verb {
            "get" | "list" | "watch" => READER,
            _ => REMEDIATOR,
        };
        write!(
            f,
            " in namespace {}, which the role {role} gives",
            self.namespace
        )
    }
}
