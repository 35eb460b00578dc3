//! The plan store of several hosts, beside their audit trail.

use async_trait::async_trait;
use sqlx::PgPool;

use super::{MAX_DOCUMENT_BYTES, PlanStore, StoreError};
use crate::audit::PostgresAudit;
use crate::plan_id::PlanId;

/// Plans in the database of a [`PostgresAudit`], from [`PostgresAudit::plans`].
///
/// # Guarantees
/// A document is added by one commit and none is overwritten: that of the host that was allowed to execute a plan is found by
/// whoever resumes it, whatever another saved of the same plan.
#[derive(Debug, Clone)]
pub struct PostgresPlans {
    pool: PgPool,
    host: i32,
}

impl PostgresAudit {
    /// The plan store in the same database: what another host suggested or approved is there too.
    #[must_use]
    pub fn plans(&self) -> PostgresPlans {
        PostgresPlans {
            pool: self.pool(),
            host: self.host(),
        }
    }
}

#[async_trait]
impl PlanStore for PostgresPlans {
    async fn save(&self, plan_id: &PlanId, document: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO argus_plans (plan_id, host, document) VALUES ($1, $2, $3)")
            .bind(plan_id.as_str())
            .bind(self.host)
            .bind(document.as_bytes())
            .execute(&self.pool)
            .await
            .map_err(failed("written"))?;
        Ok(())
    }

    async fn load(&self, plan_id: &PlanId) -> Result<Option<String>, StoreError> {
        let document: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT substring(document FOR $2) FROM argus_plans WHERE plan_id = $1 ORDER BY host IS NOT DISTINCT FROM \
             (SELECT host FROM argus_claims WHERE plan_id = $1 AND is_approval ORDER BY number DESC LIMIT 1) DESC, \
             number DESC LIMIT 1",
        )
        .bind(plan_id.as_str())
        .bind(i32::try_from(MAX_DOCUMENT_BYTES + 1).unwrap_or(i32::MAX))
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("read"))?;
        let text = document.map(String::from_utf8).transpose();
        text.map_err(|_| StoreError::Damaged {
            plan_id: plan_id.clone(),
            problem: "it is not UTF-8".into(),
        })
    }
}

fn failed(verb: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database {
        verb,
        source: Box::new(source),
    }
}
