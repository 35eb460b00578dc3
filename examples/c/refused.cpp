// A host in C++17: a model that asks for too much, and what policy says to it.
#include <argus.hpp>

#include <iostream>

namespace {

struct Model {
  std::string answer;
};

void complete(void *host, const char *, argus_reply *reply) {
  argus_reply_text(reply, static_cast<Model *>(host)->answer.c_str(), "careless-model", 0, 0, nullptr);
}

void drop(void *host) { delete static_cast<Model *>(host); }

constexpr char kAnswer[] = R"({
  "summary": "Change another team's app.",
  "steps": [{"description": "Run fewer copies of the payment app.", "command": "kubectl scale deployment/pay -n bank --replicas=0"}],
  "risk_level": "low", "risk_reason": "It says so.", "rollback_steps": []})";

constexpr char kIncident[] = R"({"incident_id": "INC-1", "findings": []})";

}  // namespace

int main(int argc, char **argv) try {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER (the audit trail goes there)\n";
    return 2;
  }
  auto runtime = argus::make<argus_runtime>(argus_runtime_new, 2u);
  auto cluster = argus::make<argus_cluster>(argus_test_cluster_new, runtime.get());
  auto policy = argus::make<argus_policy>(argus_policy_new, static_cast<const char *>(nullptr));
  auto audit = argus::make<argus_audit>(argus_audit_file, runtime.get(), static_cast<const char *>(argv[1]),
                                        static_cast<const argus_sink_table *>(nullptr), static_cast<void *>(nullptr));

  const argus_provider_table table{sizeof table, complete, drop};
  auto model = std::make_unique<Model>(Model{kAnswer});
  auto provider = argus::make<argus_provider>(argus_provider_new, &table, static_cast<void *>(model.get()));
  model.release();  // NOLINT: it belongs to Argus now

  auto remediator = argus::make<argus_remediator>(argus_remediator_new, runtime.get(), R"({"scope": ["shop"]})", provider.get(),
                                                  policy.get(), cluster.get(), audit.get());
  auto plan = argus::make<argus_plan>(argus_remediator_suggest, remediator.get(), kIncident);
  std::cout << argus::json(argus_state_json, static_cast<const void *>(plan.get())) << '\n';
  try {
    argus::make<argus_permitted>(argus_remediator_review, remediator.get(), plan.get());
  } catch (const argus::Error &refused) {
    std::cout << "Policy refuses it: " << refused.json() << '\n';
    return refused.code() == ARGUS_DENIED ? 0 : 1;
  }
  return 1;
} catch (const argus::Error &error) {
  std::cerr << error.json() << '\n';
  return 1;
}
