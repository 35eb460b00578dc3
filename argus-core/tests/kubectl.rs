//! A real kubectl against the served cluster in memory: it reads and changes it like any cluster, and the commands that
//! people see do what they say.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::time::Duration;

use argus_core::parse_command;
use argus_core::testing::cluster::{Cluster, Served};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use tokio::process::Command;

struct Kubectl {
    program: std::ffi::OsString,
    kubeconfig: tempfile::NamedTempFile,
}

impl Kubectl {
    async fn new(served: &Served) -> Option<Self> {
        let program = std::env::var_os("ARGUS_TEST_KUBECTL").unwrap_or_else(|| "kubectl".into());
        if Command::new(&program)
            .args(["version", "--client"])
            .output()
            .await
            .is_err()
        {
            assert!(
                std::env::var_os("ARGUS_TEST_ALL").is_none(),
                "ARGUS_TEST_ALL is set, but there is no kubectl"
            );
            eprintln!(
                "skipped: no kubectl; `make control-plane` builds one, or install it and put it on the PATH"
            );
            return None;
        }
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(kubeconfig.path(), served.kubeconfig()).unwrap();
        Some(Self {
            program,
            kubeconfig,
        })
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        let output = command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig.path())
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs a command as a person would paste it.
    async fn paste(&self, command: &str) -> String {
        let line = command.replacen("kubectl", &self.program.to_string_lossy(), 1);
        let output = Command::new("sh")
            .args(["-c", &line])
            .env("KUBECONFIG", self.kubeconfig.path())
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reads_and_changes_the_cluster() {
    let cluster = Cluster::start();
    let served = cluster.serve().await.unwrap();
    let Some(kubectl) = Kubectl::new(&served).await else {
        return;
    };
    cluster
        .deployment("shop", "web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    kubectl
        .run(&[
            "rollout",
            "status",
            "deployment/web",
            "-n",
            "shop",
            "--timeout=20s",
        ])
        .await;
    assert!(
        kubectl
            .run(&["get", "pods", "-n", "shop"])
            .await
            .contains("web-")
    );
    assert!(
        kubectl
            .run(&["get", "deploy", "-A", "-o", "name"])
            .await
            .contains("deployment.apps/web")
    );
    kubectl
        .run(&[
            "wait",
            "--for=condition=Available",
            "deployment/web",
            "-n",
            "shop",
            "--timeout=20s",
        ])
        .await;
    assert!(
        kubectl
            .run(&["logs", "deployment/web", "-n", "shop"])
            .await
            .contains("listening")
    );

    // What people see is what they can paste.
    for text in [
        "kubectl scale deploy web -n shop --replicas 3",
        "kubectl set image deploy/web app=r.example/web:2 -n shop",
        "kubectl set resources deploy/web -c app --limits=memory=64Mi --requests=memory=32Mi -n shop",
        r#"kubectl patch deploy/web -n shop --type json -p '[{"op":"replace","path":"/spec/revisionHistoryLimit","value":3}]'"#,
        "kubectl rollout restart deploy/web -n shop",
        "kubectl rollout undo deploy/web -n shop --to-revision=1",
        // kubectl's undo puts the annotations of that revision back too, so this one comes last.
        r#"kubectl patch deploy/web -n shop -p '{"metadata":{"annotations":{"note":"it'\''s fine"}}}'"#,
    ] {
        let command = parse_command(text).unwrap().command();
        kubectl.paste(&command).await;
    }
    kubectl
        .run(&[
            "rollout",
            "status",
            "deployment/web",
            "-n",
            "shop",
            "--timeout=20s",
        ])
        .await;
    let web: Deployment = Api::namespaced(cluster.client(), "shop")
        .get("web")
        .await
        .unwrap();
    let spec = web.spec.unwrap();
    assert_eq!(
        (spec.replicas, spec.revision_history_limit),
        (Some(3), Some(3))
    );
    assert_eq!(
        web.metadata
            .annotations
            .unwrap()
            .get("note")
            .map(String::as_str),
        Some("it's fine")
    );
    assert_eq!(
        spec.template
            .spec
            .unwrap()
            .containers
            .remove(0)
            .image
            .as_deref(),
        Some("r.example/web:1")
    );

    let pod = kubectl
        .run(&["get", "pods", "-n", "shop", "-o", "name"])
        .await;
    let pod = pod.lines().next().unwrap().to_owned();
    kubectl
        .paste(
            &parse_command(&format!("kubectl delete {pod} -n shop"))
                .unwrap()
                .command(),
        )
        .await;
    for _ in 0..200 {
        if !kubectl
            .run(&["get", "pods", "-n", "shop", "-o", "name"])
            .await
            .contains(&pod)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the deleted pod is still there");
}
