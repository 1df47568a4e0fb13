//! Alerts: a partial unique index lets one opening of a name and subject stand at a time; a notice is claimed by one.

use async_trait::async_trait;
use sqlx::Row;

use super::super::dialect::{DbRow, Engine};
use super::reading::Select;
use super::whole_rows;
use crate::domain::ids::{AlertId, SourceId};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::alerts::{AlertView, Alerts, Notice, Signs, Step};
use crate::store::reading::{Filter, Page};

/// The most rows of one kind of sign; whoever has more than that has one cause.
const MOST_SIGNS: i64 = 100;

#[async_trait]
impl Alerts for Engine {
    async fn open_alert(&self, name: &str, subject: &str, value: i64, now: Timestamp) -> Result<bool, StoreError> {
        let insert = "INSERT INTO alerts (id, name, subject, value, opened_at, seen_at) VALUES ($1, $2, $3, $4, $5, $5) \
             ON CONFLICT DO NOTHING";
        let insert = sqlx::query(insert).bind(AlertId::new(now)).bind(name).bind(subject).bind(value).bind(now);
        let mut transaction = self.begin().await?;
        let opened = insert.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(opened == 1)
    }

    async fn alert_seen(&self, id: AlertId, value: i64, now: Timestamp) -> Result<(), StoreError> {
        // Somebody may have closed it meanwhile: then it opens again at the next round.
        let update = "UPDATE alerts SET seen_at = $3, value = $2 WHERE id = $1 AND closed_at IS NULL AND seen_at < $3";
        let mut transaction = self.begin().await?;
        sqlx::query(update).bind(id).bind(value).bind(now).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn close_alert(&self, id: AlertId, unseen_since: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let update = "UPDATE alerts SET closed_at = $3 WHERE id = $1 AND closed_at IS NULL AND seen_at <= $2";
        let mut transaction = self.begin().await?;
        let update = sqlx::query(update).bind(id).bind(unseen_since).bind(now);
        let closed = update.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(closed == 1)
    }

    async fn keep_past_alert(&self, past: &AlertView) -> Result<(), StoreError> {
        let insert = "INSERT INTO alerts (id, name, subject, value, opened_at, seen_at, closed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)";
        let insert = sqlx::query(insert).bind(past.id).bind(&past.name).bind(&past.subject).bind(past.value);
        let mut transaction = self.begin().await?;
        insert.bind(past.opened_at).bind(past.closed_at).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn open_alerts(&self) -> Result<Vec<(AlertView, Timestamp)>, StoreError> {
        let select = "SELECT * FROM alerts WHERE closed_at IS NULL ORDER BY name, subject";
        let rows = whole_rows(select).fetch_all(&self.reader).await?;
        rows.iter().map(|row| Ok((alert_view(row)?, row.try_get("seen_at")?))).collect()
    }

    async fn alerts(&self, filter: &Filter, page: Page) -> Result<Vec<AlertView>, StoreError> {
        let select = match filter.status.as_deref() {
            None => "SELECT * FROM alerts WHERE true",
            Some("open") => "SELECT * FROM alerts WHERE closed_at IS NULL",
            Some("closed") => "SELECT * FROM alerts WHERE closed_at IS NOT NULL",
            Some(_) => "SELECT * FROM alerts WHERE false",
        };
        Select::of(select).page(self, "id", page, alert_view).await
    }

    async fn untold_alerts(
        &self,
        channel: &str,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<(AlertView, Step)>, StoreError> {
        let select = "SELECT * FROM ( \
             SELECT a.*, a.opened_at AS happened_at, 1 AS place FROM alerts a UNION ALL \
             SELECT a.*, a.closed_at AS happened_at, 2 AS place FROM alerts a WHERE a.closed_at IS NOT NULL) AS t \
             WHERE t.happened_at >= $2 AND NOT EXISTS (SELECT 1 FROM alert_notices n WHERE n.alert_id = t.id \
             AND n.channel = $1 AND n.told_at IS NOT NULL AND n.step = CASE t.place WHEN 1 THEN 'open' ELSE 'closed' END) \
             ORDER BY t.happened_at, t.place, t.id LIMIT $3";
        let select = whole_rows(select).bind(channel).bind(since).bind(limit);
        let rows = select.fetch_all(&self.reader).await?;
        let step = |row: &DbRow| {
            let place: i32 = row.try_get("place")?;
            Ok::<_, StoreError>(if place == 1 { Step::Opened } else { Step::Closed })
        };
        rows.iter().map(|row| Ok((alert_view(row)?, step(row)?))).collect()
    }

    async fn claim_notice(
        &self,
        notice: Notice<'_>,
        free_before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let insert = "INSERT INTO alert_notices AS n (alert_id, channel, step, claimed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (alert_id, channel, step) DO UPDATE SET claimed_at = excluded.claimed_at \
             WHERE n.told_at IS NULL AND n.claimed_at <= $5";
        let insert = sqlx::query(insert).bind(notice.alert_id).bind(notice.channel).bind(notice.step.as_str());
        let mut transaction = self.begin().await?;
        let claimed = insert.bind(now).bind(free_before).execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(claimed == 1)
    }

    async fn end_notice(&self, notice: Notice<'_>, told: bool, now: Timestamp) -> Result<(), StoreError> {
        let end = if told {
            "UPDATE alert_notices SET told_at = $4 WHERE alert_id = $1 AND channel = $2 AND step = $3 AND told_at IS NULL"
        } else {
            "DELETE FROM alert_notices WHERE alert_id = $1 AND channel = $2 AND step = $3 AND told_at IS NULL \
             AND claimed_at <= $4"
        };
        let end = sqlx::query(end).bind(notice.alert_id).bind(notice.channel).bind(notice.step.as_str());
        let mut transaction = self.begin().await?;
        end.bind(now).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn sources_heard(&self, heard: &[(SourceId, Timestamp)]) -> Result<(), StoreError> {
        let insert = "INSERT INTO sources_heard AS t (source_id, heard_at) VALUES ($1, $2) \
             ON CONFLICT (source_id) DO UPDATE SET heard_at = excluded.heard_at WHERE t.heard_at < excluded.heard_at";
        // In one order everywhere, so that instances do not lock each other out.
        let mut heard = heard.to_vec();
        heard.sort_by_key(|(source_id, _)| *source_id);
        let mut transaction = self.begin().await?;
        for (source_id, heard_at) in heard {
            sqlx::query(insert).bind(source_id).bind(heard_at).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn signs(
        &self,
        silent_since: Option<Timestamp>,
        secrets_before: Timestamp,
        now: Timestamp,
    ) -> Result<Signs, StoreError> {
        let mut signs = Signs::default();
        let subject = |row: &DbRow| Ok::<_, StoreError>((row.try_get("id")?, row.try_get("at")?));
        if let Some(since) = silent_since {
            let select = "SELECT s.id, h.heard_at AS at FROM sources s JOIN sources_heard h ON h.source_id = s.id \
                 WHERE s.status = 'active' AND NOT s.test AND h.heard_at < $1 ORDER BY s.id LIMIT $2";
            let rows = sqlx::query(select).bind(since).bind(MOST_SIGNS).fetch_all(&self.reader).await?;
            signs.silent = rows.iter().map(subject).collect::<Result<_, _>>()?;
        }
        let select = "SELECT s.id, min(k.created_at) AS at FROM sources s JOIN source_secrets k ON k.source_id = s.id \
             WHERE s.status = 'active' AND s.signature_scheme <> 'none' AND k.created_at < $1 \
             AND (k.expires_at IS NULL OR k.expires_at > $2) GROUP BY s.id ORDER BY s.id LIMIT $3";
        let select = sqlx::query(select).bind(secrets_before).bind(now).bind(MOST_SIGNS);
        let rows = select.fetch_all(&self.reader).await?;
        signs.old_secrets = rows.iter().map(subject).collect::<Result<_, _>>()?;
        Ok(signs)
    }
}

fn alert_view(row: &DbRow) -> Result<AlertView, StoreError> {
    Ok(AlertView {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        subject: row.try_get("subject")?,
        value: row.try_get("value")?,
        opened_at: row.try_get("opened_at")?,
        closed_at: row.try_get("closed_at")?,
    })
}
