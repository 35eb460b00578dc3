//! The commands that are compared: written by hand, generated, and broken on purpose. `NAME` and `NS` stand for the case's.

use argus_core::{Action, Kind, Patch, PatchKind, Target};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// One of each spelling that Argus takes.
pub(crate) const ACCEPTED: &[&str] = &[
    "kubectl rollout restart deployment/NAME -n NS",
    "kubectl rollout restart deploy NAME --namespace NS",
    "kubectl -n NS rollout restart deployments.apps/NAME",
    "kubectl --namespace=NS rollout restart deployment.v1.apps NAME",
    "kubectl rollout -nNS restart sts/NAME",
    "kubectl rollout restart statefulsets NAME -n=NS",
    "kubectl rollout restart ds/NAME -n NS",
    "kubectl rollout restart daemonset.apps/NAME -n 'NS'",
    "kubectl scale deployment/NAME --replicas=1 -n NS",
    "kubectl scale --replicas 2 deploy NAME -n NS",
    "kubectl -n NS scale --replicas=1 statefulset/NAME",
    "kubectl --replicas 2 scale statefulset/NAME -n \"NS\"",
    "kubectl scale deploy/NAME \\--replicas=1 -n NS",
    "kubectl set resources deployment/NAME -c app --limits=memory=512Mi -n NS",
    "kubectl set resources deploy NAME --limits=memory=512Mi,cpu=1 --requests cpu=100m,memory=64Mi -n NS",
    "kubectl set resources deploy NAME -c=setup --limits cpu=1500m -n NS",
    "kubectl set resources deploy NAME --containers sidecar --requests=ephemeral-storage=1Gi -n NS",
    "kubectl set resources deploy NAME -c '*' --limits=memory=1e9 -n NS",
    "kubectl set resources sts/NAME --limits=memory=0.5Gi -n NS",
    "kubectl set resources ds NAME --requests=cpu=+0.25 -n NS",
    "kubectl set image deployment/NAME app=r.example/app:3 -n NS",
    "kubectl set image deploy NAME app=r.example/app:3 sidecar=r.example:5000/team/side@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 -n NS",
    "kubectl set image deploy/NAME setup=setup:2 -n NS",
    "kubectl set image -n NS sts/NAME app=app",
    "kubectl set image ds NAME app=localhost:5000/app:v1.2-3_x -n NS",
    "kubectl patch deployment/NAME -n NS -p '{\"spec\":{\"minReadySeconds\":5}}'",
    "kubectl patch deploy NAME -n NS --patch '{\"metadata\":{\"labels\":{\"team\":\"a\"},\"annotations\":{\"note\":null}}}' --type strategic",
    "kubectl patch deploy NAME -n NS --patch='{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"app\",\"env\":[{\"name\":\"MODE\",\"value\":\"on\"}]}]}}}}'",
    "kubectl patch deploy/NAME -n NS -p \"{\\\"spec\\\":{\\\"revisionHistoryLimit\\\":3}}\" --type=merge",
    "kubectl patch deploy/NAME -n NS --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/revisionHistoryLimit\",\"value\":4}]'",
    "kubectl patch deploy/NAME -n NS --type JSON -p '[{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":0},{\"op\":\"add\",\"path\":\"/metadata/annotations/a~1b\",\"value\":\"c\"}]'",
    "kubectl patch deploy/NAME -n NS -p 'spec:\n  minReadySeconds: 7\n  paused: true'",
    "kubectl patch deploy/NAME -n NS --type merge -p 'metadata: {annotations: {note: \"yes\", more: plain words, image: r.example/app:1.2}}'",
    "kubectl patch deploy/NAME -n NS --type json -p '- op: remove\n  path: /metadata/annotations/note'",
    "kubectl patch deploy/NAME -n NS -p '{\"metadata\":{\"annotations\":{\"note\":\"it'\\''s \\\"fine\\\" \\\\ here\"}}}'",
    "kubectl patch deploy/NAME -n NS -p '{\"metadata\":{\"annotations\":{\"note\":\"gr\u{fc}n \u{1f600} \\u00e9\"}}}'",
    "kubectl patch deploy/NAME -n NS --type json -p '[{\"op\":\"add\",\"path\":\"/metadata/annotations/note\",\"value\":\"gr\u{fc}n \u{1f600}\"}]'",
    "kubectl patch svc/NAME -n NS -p '{\"spec\":{\"selector\":{\"app\":\"other\"}}}'",
    "kubectl patch service NAME -n NS -p '{\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":9090}]}}'",
    "kubectl patch services/NAME -n NS --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/targetPort\",\"value\":\"http\"}]'",
    "kubectl patch ing/NAME -n NS --type json -p '[{\"op\":\"replace\",\"path\":\"/spec/rules/0/http/paths/0/backend/service/port/number\",\"value\":81}]'",
    "kubectl patch ingress.networking.k8s.io NAME -n NS -p '{\"spec\":{\"ingressClassName\":\"nginx\"}}'",
    "kubectl patch cj/NAME -n NS -p '{\"spec\":{\"suspend\":false}}'",
    "kubectl patch cronjobs.batch/NAME -n NS --type merge -p '{\"spec\":{\"schedule\":\"*/5 * * * *\"}}'",
    "kubectl patch hpa/NAME -n NS -p '{\"spec\":{\"maxReplicas\":7}}'",
    "kubectl patch horizontalpodautoscaler NAME -n NS --type merge -p '{\"spec\":{\"scaleTargetRef\":{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"name\":\"other\"}}}'",
    "kubectl patch pdb NAME -n NS -p '{\"spec\":{\"minAvailable\":0}}'",
    "kubectl patch poddisruptionbudgets.policy/NAME -n NS --type=merge -p 'spec: {minAvailable: 50%}'",
    "kubectl patch statefulset/NAME -n NS -p '{\"spec\":{\"template\":{\"spec\":{\"terminationGracePeriodSeconds\":5,\"nodeSelector\":null}}}}'",
    "kubectl patch daemonset/NAME -n NS --type=strategic -p '{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"50%\"}}}}'",
    "kubectl delete pod/NAME -n NS",
    "kubectl delete pod NAME -n NS",
    "kubectl -n NS delete po/NAME",
    "kubectl delete pods NAME --namespace NS",
    "kubectl rollout undo deployment/NAME -n NS",
    "kubectl rollout undo deploy NAME -n NS --to-revision=1",
    "kubectl rollout undo deploy/NAME --to-revision 0 -n NS",
    "  kubectl\tscale   deployment.apps NAME\t-n NS --replicas=2\n",
];

/// The objects of one case: workloads without copies, so that every rollout is complete at once.
pub(crate) fn fixtures(name: &str) -> Vec<Value> {
    let labels = json!({ "app": name });
    let container = |name: &str| json!({ "name": name, "image": format!("r.example/{name}:1"), "ports": [{ "name": format!("http-{name}"), "containerPort": 8080 }] });
    let pod = json!({ "initContainers": [{ "name": "setup", "image": "setup:1" }],
        "containers": [container("app"), { "name": "sidecar", "image": "side:1" }] });
    let mut nowhere = pod.clone();
    nowhere["nodeSelector"] = json!({ "never": "there", "disk": "ssd" });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let metadata = json!({ "name": name, "annotations": { "note": "first" } });
    let workload = |kind: &str, more: Value| {
        let mut object = json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": metadata,
            "spec": { "selector": { "matchLabels": labels }, "template": template } });
        object["spec"]
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    let backend = json!({ "service": { "name": name, "port": { "number": 80 } } });
    let job_pod = json!({ "restartPolicy": "Never", "containers": [container("app")] });
    vec![
        workload("Deployment", json!({ "replicas": 0 })),
        workload("StatefulSet", json!({ "replicas": 0, "serviceName": name })),
        workload(
            "DaemonSet",
            json!({ "template": { "metadata": { "labels": labels }, "spec": nowhere } }),
        ),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] } }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata,
            "spec": { "rules": [{ "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] } }),
        json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata,
            "spec": { "suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": { "spec": job_pod } } } } }),
        json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata,
            "spec": { "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "none" } } }),
        json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": { "minAvailable": 1, "selector": { "matchLabels": labels } } }),
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": nowhere }),
    ]
}

/// Commands of random actions: annotations with any text, images, amounts, numbers of copies.
pub(crate) fn generated(count: usize) -> Vec<String> {
    let key = "[a-z]{1,8}(\\.[a-z]{1,5}/[A-Za-z0-9]{1,6})?";
    let text = prop_oneof![
        "[ -~]{0,20}",
        "[a-z\u{e4}\u{4e2d}\u{1f600}\\n\\t'\"\\\\]{0,10}",
        prop::sample::select(vec![
            "on", "010", "~", "null", "1e3", "- a", "a: b", "#x", "0x1f", "%", "@", "`", "1:30",
            "\\u0041", "<<"
        ])
        .prop_map(str::to_owned),
    ];
    let patch = (key, text, 0..3).prop_filter_map("a patch", |(key, text, kind)| {
        let pointer = key.replace('/', "~1");
        let annotations = json!({ "metadata": { "annotations": { key: text } } });
        let operation = json!([{ "op": "add", "path": format!("/metadata/annotations/{pointer}"), "value": text }]);
        let patch = match kind {
            0 => Patch::new(PatchKind::Merge, annotations),
            1 => Patch::new(PatchKind::Strategic, annotations),
            _ => Patch::new(PatchKind::Json, operation),
        };
        let target = Target::new(Kind::Deployment, "ns", "name").ok()?;
        Some(Action::patch(target, patch.ok()?).ok()?.command())
    });
    let amount = "([1-9][0-9]{0,3}(Mi|M|k|e6)|0\\.[1-9]Gi)";
    let line = prop_oneof![
        3 => patch,
        1 => (1..4u32).prop_map(|n| format!("kubectl scale deployment/name -n ns --replicas={n}")),
        1 => (amount, "[1-9][0-9]{0,3}m").prop_map(|(memory, cpu)| format!("kubectl set resources deployment/name -n ns --limits=cpu={cpu},memory={memory}")),
        1 => "r\\.example(:[1-9][0-9]{1,3})?/[a-z]{1,5}([._-][a-z0-9]{1,3})?(:[A-Za-z0-9_][a-zA-Z0-9._-]{0,5})?"
            .prop_filter("another", |image| image != "r.example/app:1")
            .prop_map(|image| format!("kubectl set image deployment/name -n ns app={image}")),
    ];
    let mut runner = TestRunner::deterministic();
    let mut line = || line.new_tree(&mut runner).unwrap().current();
    (0..count)
        .map(|_| line().replacen("deployment/name -n ns", "deployment/NAME -n NS", 1))
        .collect()
}

/// Commands that went wrong in one place.
pub(crate) fn mutants() -> Vec<String> {
    let seeds = [
        "kubectl rollout restart deployment/NAME -n NS",
        "kubectl rollout undo deployment/NAME -n NS --to-revision=1",
        "kubectl scale deployment/NAME -n NS --replicas=1",
        "kubectl set resources deployment NAME -n NS --limits=memory=512Mi",
        "kubectl set image deployment/NAME -n NS app=r.example/app:2",
        "kubectl patch deployment/NAME -n NS --type=merge -p {}",
        "kubectl delete pod/NAME -n NS",
    ];
    let mut mutants: Vec<String> = Vec::new();
    for seed in seeds {
        let words: Vec<&str> = seed.split(' ').collect();
        for at in 1..words.len() {
            let mut without = words.clone();
            without.remove(at);
            mutants.push(without.join(" "));
            let mut misspelt = words.clone();
            let wrong = format!("{}x", words[at]);
            misspelt[at] = &wrong;
            mutants.push(misspelt.join(" "));
        }
        for tail in [
            "--bogus",
            "--bogus=1",
            "-z",
            "-Z x",
            "--replica=1",
            "---n x",
            "--=x",
            "-n",
            "--to-revision",
            "extra/word/s",
            "/",
            "a/",
            "--replicas=x",
            "-=",
            "--name space",
        ] {
            mutants.push(format!("{seed} {tail}"));
        }
    }
    for text in [
        "kubectl scale deployment/NAME -n NS --replicas=-1",
        "kubectl scale deployment/NAME -n NS --replicas=two",
        "kubectl scale deployment/NAME -n NS --replicas=",
        "kubectl scale deployment/NAME -n NS --replicas 1.5",
        "kubectl set image app=r.example/app:2 deployment/NAME -n NS",
        "kubectl set image deployment/NAME app= -n NS",
        "kubectl set image deployment/NAME =app -n NS",
        "kubectl set resources deployment NAME -n NS --limits=memory",
        "kubectl set resources deployment NAME -n NS --limits=memory=512MB",
        "kubectl set resources deployment NAME -n NS --limits=memory=512Mi,",
        "kubectl set resources deployment NAME -n NS --limits=memory=-1",
        "kubectl set resources deployment NAME -n NS",
        "kubectl patch deployment/NAME -n NS",
        "kubectl patch deployment/NAME -n NS -p ''",
        "kubectl patch deployment/NAME -n NS --type=apply -p '{\"spec\":{\"replicas\":1}}'",
        "kubectl patch deployment/NAME -n NS -p 'a: [1'",
        "kubectl patch deployment/NAME -n NS --type json -p '[{\"op\":\"add\",\"path\":\"/metadata/annotations/x\",\"value\":\"\\ud83d\\ude00\"}]'",
        "kubectl rollout undo deployment/NAME -n NS --to-revision=x",
        "kubectl rollout undo deployment/NAME -n NS --to-revision=-1",
        "kubectl rollout deployment/NAME -n NS",
        "kubectl rollout restart service/NAME -n NS",
        "kubectl rollout restart pod/NAME -n NS",
        "kubectl set image service/NAME app=x -n NS",
        "kubectl set deployment/NAME -n NS",
        "kubectl restart deployment/NAME -n NS",
        "kubectl rollout-restart deployment/NAME -n NS",
        "kubectl delete pod -n NS",
        "kubectl delete -n NS",
        "kubectl delete pod/NAME --wait=maybe -n NS",
        "kubectl get pods --sortby=x -n NS",
        "kubectl frobnicate NAME -n NS",
        "kubectl --bogus get pods",
    ] {
        mutants.push(text.to_owned());
    }
    mutants
}
