use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::action::Kind;

fn parsed(text: &str) -> String {
    parse_command(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .command()
}

fn refused(text: &str) -> CommandError {
    match parse_command(text) {
        Ok(action) => panic!("{text} was taken as {action:?}"),
        Err(error) => error,
    }
}

#[test]
fn every_spelling_of_the_namespace_and_the_object_is_read() {
    for text in [
        "kubectl rollout restart deployment/web -n shop",
        "kubectl rollout restart deployment web --namespace shop",
        "kubectl -n shop rollout restart deploy/web",
        "kubectl rollout -nshop restart deployments.apps/web",
        "kubectl rollout restart -n=shop deployment.v1.apps web",
        "kubectl --namespace=shop rollout restart 'deploy'/\"web\"",
        "  kubectl\trollout restart Deployment/web -n shop\n",
    ] {
        assert_eq!(
            parsed(text),
            "kubectl rollout restart deployment/web -n shop",
            "{text}"
        );
    }
}

#[test]
fn each_action_is_read() {
    for (text, canonical) in [
        (
            "kubectl scale --replicas 2 sts db -n shop",
            "kubectl scale statefulset/db -n shop --replicas=2",
        ),
        (
            "kubectl rollout undo deploy/web --to-revision=3 -n shop",
            "kubectl rollout undo deployment/web -n shop --to-revision=3",
        ),
        (
            "kubectl rollout undo deploy/web -n shop --to-revision 0",
            "kubectl rollout undo deployment/web -n shop",
        ),
        (
            "kubectl set resources deploy web -n shop --limits=memory=512Mi,cpu=1 --requests cpu=100m -c app",
            "kubectl set resources deployment/web -n shop -c app --limits=cpu=1,memory=512Mi --requests=cpu=100m",
        ),
        (
            "kubectl set image deployment/web b=r/b:2 a=r/a:1 -n shop",
            "kubectl set image deployment/web -n shop a=r/a:1 b=r/b:2",
        ),
        (
            "kubectl delete po web-1 -n shop",
            "kubectl delete pod/web-1 -n shop",
        ),
        (
            "kubectl delete pod/web-1 -n shop",
            "kubectl delete pod/web-1 -n shop",
        ),
        (
            r#"kubectl patch svc web -n shop -p "{\"spec\":{\"selector\":{\"app\":\"it's\"}}}""#,
            r#"kubectl patch service/web -n shop --type=strategic -p '{"spec":{"selector":{"app":"it'\''s"}}}'"#,
        ),
        (
            r#"kubectl patch cj/report -n shop --type json -p '[{"op":"replace","path":"/spec/suspend","value":false}]'"#,
            r#"kubectl patch cronjob/report -n shop --type=json -p '[{"op":"replace","path":"/spec/suspend","value":false}]'"#,
        ),
    ] {
        assert_eq!(parsed(text), canonical);
        assert_eq!(parsed(canonical), canonical);
    }
}

#[test]
fn whatever_a_shell_would_act_on_is_refused() {
    for tail in [
        "; rm -rf /",
        "&& true",
        "| sh",
        "> /tmp/x",
        "$(id)",
        "`id`",
        "$HOME",
        "*",
        "we?",
        "[a]",
        "{a,b}",
        "~",
        "# hi",
        "\nkubectl version",
        "\\\n",
        "'open",
        "\"open",
        "\"$x\"",
        "\u{7}",
        "\u{202e}",
        "dеploy",
    ] {
        refused(&format!("kubectl delete pod/web-1 -n shop {tail}"));
    }
    assert_eq!(
        refused("kubectl delete pod/web-1 -n shop; true").position(),
        32
    );
}

#[test]
fn flags_that_change_who_where_or_how_hard_are_refused_for_every_verb() {
    for flag in [
        "--force",
        "--force=false",
        "--forc",
        "--grace-period=0",
        "--grace-period 0",
        "--now",
        "--cascade=orphan",
        "--as=admin",
        "--as admin",
        "--as-group=x",
        "--server=https://evil",
        "-s https://evil",
        "-shttps://evil",
        "--kubeconfig=x",
        "--context x",
        "--token=x",
        "--insecure-skip-tls-verify",
        "--all",
        "-A",
        "--all-namespaces",
        "-f x",
        "-fx",
        "-k x",
        "--raw=/api",
        "--dry-run=none",
        "-l app=web",
        "--selector=app",
        "--field-selector=x",
        "-Rf x",
        "--subresource=status",
    ] {
        for command in [
            "kubectl delete pod/web-1 -n shop",
            "kubectl get pods -n shop",
            "kubectl scale deploy/web --replicas=1 -n shop",
        ] {
            let error = refused(&format!("{command} {flag}"));
            assert!(
                error.to_string().contains("not allowed"),
                "{command} {flag}: {error}"
            );
        }
    }
}

#[test]
fn clean_kubectl_for_anything_else_is_manual_with_the_reason() {
    for (text, reason) in [
        ("kubectl drain node-1", "nodes"),
        ("kubectl delete namespace shop", "only single pods"),
        ("kubectl delete pvc data -n shop", "storage"),
        ("kubectl delete statefulset/db -n shop", "only single pods"),
        ("kubectl patch clusterrole admin -p '{}'", "permissions"),
        ("kubectl get pods -n shop -o wide", "only looks"),
        ("kubectl create secret generic x -n shop", "secrets"),
        ("kubectl exec web-1 -n shop -- sh", "--"),
    ] {
        match parse_command(text) {
            Ok(Action::Manual {
                reason: why,
                command,
            }) => {
                assert!(why.contains(reason), "{text}: {why}");
                assert_eq!(command, text);
            }
            Ok(other) => panic!("{text} was taken as {other:?}"),
            Err(error) => assert!(error.to_string().contains(reason), "{text}: {error}"),
        }
    }
}

#[test]
fn half_a_command_names_what_is_missing() {
    for (text, problem) in [
        ("", "empty"),
        ("helm upgrade web", "not kubectl"),
        ("kubectl", "nothing to do"),
        ("kubectl scale deploy/web -n shop", "--replicas is missing"),
        (
            "kubectl scale deploy/web --replicas=2",
            "namespace is missing",
        ),
        (
            "kubectl scale deploy -n shop --replicas=2",
            "name is missing",
        ),
        (
            "kubectl scale deploy/a deploy/b -n shop --replicas=2",
            "too many",
        ),
        (
            "kubectl scale deploy/a -n shop -n shop2 --replicas=2",
            "twice",
        ),
        (
            "kubectl scale deploy/a -n shop --replicas=-1",
            "no whole number",
        ),
        (
            "kubectl scale deploy/a -n shop --replicas=+1",
            "no whole number",
        ),
        (
            "kubectl scale deploy/a -n shop --replicas=2 --limits=cpu=1",
            "`kubectl scale` has no flag `--limits`",
        ),
        (
            "kubectl scale deploy/a -n shop --replicas=2 --frobnicate",
            "has no flag",
        ),
        (
            "kubectl set resources deploy/a -n shop --limits=memory=512MB",
            "no Kubernetes amount",
        ),
        ("kubectl set image deploy/a -n shop", "1 to 20"),
        ("kubectl patch deploy/a -n shop -p '{'", "can't be read"),
        ("kubectl delete pod/Web -n shop", "not a valid object name"),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(problem), "{text}: {error}");
        assert!(!error.hint().is_empty());
    }
}

fn patch() -> impl Strategy<Value = Patch> {
    let key = "[!-~]{1,12}";
    // Quotes, escapes, letters of all scripts and emoji.
    let text = prop_oneof![
        any::<String>(),
        "[ -~\\n\\t]{0,12}",
        "[a-z\u{e4}\u{4e2d}\u{1f600}]{0,6}"
    ];
    let value = prop_oneof![
        text.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    (key, value, 0..3).prop_filter_map("a patch", |(key, value, kind)| {
        let pointer = key.replace('~', "~0").replace('/', "~1");
        let below_spec = json!({"spec": {"template": {"metadata": {key: value}}}});
        match kind {
            0 => Patch::new(PatchKind::Merge, below_spec).ok(),
            1 => Patch::new(PatchKind::Strategic, below_spec).ok(),
            _ => Patch::new(
                PatchKind::Json,
                json!([{"op": "add", "path": format!("/metadata/annotations/{pointer}"), "value": value}]),
            )
            .ok(),
        }
    })
}

fn action() -> impl Strategy<Value = Action> {
    let name = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";
    let rolling = prop::sample::select(vec![Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet]);
    let target = (rolling, name, name)
        .prop_map(|(kind, namespace, name)| Target::new(kind, namespace, name).unwrap());
    let amounts = (
        prop::option::of("[1-9][0-9]{0,3}m"),
        prop::option::of("[1-9][0-9]{0,3}(Mi|Gi|e3)"),
        prop::option::of("[1-9][0-9]{0,3}(M|G)"),
    )
        .prop_map(|(cpu, memory, disk)| {
            let amount = |text: Option<String>| text.map(|text| Quantity::new(text).unwrap());
            Amounts {
                cpu: amount(cpu),
                memory: amount(memory),
                ephemeral_storage: amount(disk),
            }
        });
    let images =
        prop::collection::btree_map(name, "[a-z]{1,5}(/[a-z]{1,5})?(:[a-z0-9.]{1,5})?", 1..4);
    prop_oneof![
        target
            .clone()
            .prop_map(|target| Action::rollout_restart(target).unwrap()),
        (target.clone(), 0..=1000u32).prop_filter_map("scalable", |(target, replicas)| {
            Action::scale(target, replicas).ok()
        }),
        (
            target.clone(),
            prop::option::of(name),
            amounts.clone(),
            amounts
        )
            .prop_filter_map("not empty", |(target, container, limits, requests)| {
                Action::set_resources(
                    target,
                    container.map(|c| DnsLabel::new(c).unwrap()),
                    limits,
                    requests,
                )
                .ok()
            }),
        (target.clone(), images).prop_filter_map("images", |(target, images)| {
            let images = images
                .into_iter()
                .map(|(c, i)| Some((DnsLabel::new(c).ok()?, Image::new(i).ok()?)))
                .collect::<Option<_>>()?;
            Action::set_image(target, images).ok()
        }),
        (target.clone(), patch()).prop_filter_map("patchable", |(target, patch)| {
            Action::patch(target, patch).ok()
        }),
        (name, name).prop_map(|(namespace, name)| Action::delete_pod(
            Target::new(Kind::Pod, namespace, name).unwrap()
        )
        .unwrap()),
        (target, prop::option::of(1..100u32)).prop_filter_map(
            "deployment",
            |(target, revision)| Action::rollout_undo(target, revision).ok()
        ),
    ]
}

proptest! {
    #[test]
    fn parsing_what_was_rendered_gives_the_action_back(action in action()) {
        let command = action.command();
        prop_assert_eq!(parse_command(&command).map_err(|e| e.to_string()), Ok(action), "{}", command);
    }

    #[test]
    fn the_yaml_of_a_patch_is_the_patch(patch in patch()) {
        let yaml = patch.to_yaml();
        prop_assert_eq!(from_yaml(&yaml), Ok(patch.body().clone()), "{}", yaml);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse_command(&text);
        let _ = parse_command(&format!("kubectl {text}"));
    }

    #[test]
    fn kubectl_like_text_is_exact_or_refused(words in prop::collection::vec("(kubectl|scale|patch|delete|set|image|rollout|undo|pod|deploy/a|po/b|-n|shop|--replicas=2|-p|'\\{\\}'|--force|a=b|--|-x|;)", 0..9)) {
        if let Ok(action) = parse_command(&format!("kubectl {}", words.join(" "))) {
            prop_assert!(!words.iter().any(|word| word == "--force" || word == ";"));
            if !action.is_manual() {
                prop_assert_eq!(parse_command(&action.command()).unwrap(), action);
            }
        }
    }
}
