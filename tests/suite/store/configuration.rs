//! The configuration: what goes in comes out, secrets lie sealed, deltas bring the news only.

use std::sync::Arc;

use postback::domain::catalog::{Affiliate, Agreement, Catalog, EndpointSecret, Role, SourceSecret, Status};
use postback::domain::ids::{AffiliateId, AgreementId, EndpointSecretId, PlanVersionId, SourceSecretId};
use postback::domain::secret::{ApiKey, MasterKey};
use postback::domain::signature::SigningSecret;
use postback::store::StoreError;
use postback::store::configuration::Entry;
use secrecy::ExposeSecret;

use crate::support::engines::{Kind, on_both_engines};
use crate::support::world::{World, api_key, fixed, goal, link, operator, source};

on_both_engines!(
    every_noun_goes_in_and_comes_out,
    secrets_are_nowhere_in_the_clear,
    a_sealed_secret_opens_at_its_place_and_under_its_key_only,
    a_delta_brings_what_is_newer,
    later_rows_replace_earlier_ones_and_keep_their_owner,
    what_is_taken_or_refers_to_nothing_is_refused_as_a_whole,
    versions_rise_one_by_one_under_many_writers,
);

fn source_secret(world: &World, secret: &SigningSecret) -> SourceSecret {
    SourceSecret {
        id: SourceSecretId::new(world.now()),
        source_id: world.source.id,
        secret: secret.clone(),
        created_at: world.now(),
        expires_at: None,
    }
}

fn endpoint_secret(world: &World, secret: &SigningSecret) -> EndpointSecret {
    EndpointSecret {
        id: EndpointSecretId::new(world.now()),
        endpoint_id: world.endpoint.id,
        secret: secret.clone(),
        created_at: world.now(),
        expires_at: None,
    }
}

fn agreement(world: &World) -> Agreement {
    Agreement {
        id: AgreementId::new(world.now()),
        affiliate_id: world.affiliate.id,
        program_id: world.program.id,
        plan_id: world.plan.id,
        created_at: world.now(),
    }
}

/// Debug output shows every field but secrets.
fn shown(things: &[impl std::fmt::Debug]) -> Vec<String> {
    let mut shown: Vec<_> = things.iter().map(|thing| format!("{thing:?}")).collect();
    shown.sort();
    shown
}

async fn every_noun_goes_in_and_comes_out(kind: Kind) {
    let mut world = World::new(kind).await;
    let secret = SigningSecret::generate();
    let sealed = source_secret(&world, &secret);
    let agreement = agreement(&world);
    let admin = api_key(world.now(), &ApiKey::generate(), Role::Admin);
    let role = Role::Affiliate { affiliate_id: world.affiliate.id };
    let mut partner = api_key(world.now(), &ApiKey::generate(), role);
    partner.ip_allowlist.clear();
    partner.expires_at = Some(world.now().plus(std::time::Duration::from_secs(60)));
    let keys = [Entry::Key(admin.clone()), Entry::Key(partner.clone())];
    let entries = [Entry::SourceSecret(sealed.clone()), Entry::Agreement(agreement.clone())];
    world.put(&[keys.as_slice(), &entries].concat()).await.unwrap();

    let all = world.database.load(0).await.unwrap();
    assert_eq!(all.version, 2);
    assert_eq!(shown(&all.operators), shown(&[&world.operator]));
    assert_eq!(shown(&all.sources), shown(&[&world.source]));
    assert_eq!(shown(&all.source_secrets), shown(&[&sealed]));
    assert_eq!(shown(&all.programs), shown(&[&world.program]));
    assert_eq!(shown(&all.goals), shown(&[&world.lead, &world.sale]));
    assert_eq!(shown(&all.plans), shown(&[&world.plan]));
    assert_eq!(shown(&all.plan_versions), shown(&[&world.plan_version]));
    assert_eq!(shown(&all.affiliates), shown(&[&world.affiliate]));
    assert_eq!(shown(&all.agreements), shown(&[&agreement]));
    assert_eq!(shown(&all.links), shown(&[&world.link]));
    assert_eq!(shown(&all.keys), shown(&[&world.operator_key.1, &admin, &partner]));
    assert_eq!(shown(&all.endpoints), shown(&[&world.endpoint, &world.operator_endpoint]));
    assert_eq!(shown(&all.mac_keys), shown(&[&world.mac_key]));
    assert_eq!(all.mac_keys[0].secret.expose_bytes(), world.mac_key.secret.expose_bytes());
    let text = |secret: &SigningSecret| secret.text().expose_secret().to_owned();
    assert_eq!(text(&all.source_secrets[0].secret), text(&secret));
    assert_eq!(text(&all.endpoint_secrets[0].secret), text(&world.endpoint_secret));

    let found = world.catalog.key(world.operator_key.0.public_id()).unwrap();
    assert!(found.hash.is_of(&world.operator_key.0));
}

async fn secrets_are_nowhere_in_the_clear(kind: Kind) {
    let mut world = World::new(kind).await;
    let secret = SigningSecret::generate();
    world.put(&[Entry::SourceSecret(source_secret(&world, &secret))]).await.unwrap();
    let key_text = world.operator_key.0.to_text();
    let key_secret = key_text.expose_secret().splitn(3, '_').nth(2).unwrap().to_owned();
    let mut needles: Vec<Vec<u8>> = vec![key_secret.into_bytes(), world.mac_key.secret.expose_bytes().to_vec()];
    for secret in [&secret, &world.endpoint_secret] {
        let text = secret.text().expose_secret();
        needles.push(text.as_bytes().to_vec());
        use base64::Engine;
        needles.push(base64::engine::general_purpose::STANDARD.decode(text.trim_start_matches("whsec_")).unwrap());
    }
    let everything = world.database.dump().await;
    let contains = |needle: &[u8]| everything.windows(needle.len()).any(|window| window == needle);
    assert!(contains(world.affiliate.name.as_bytes()), "the search itself works on text");
    assert!(contains(&world.operator_key.1.hash.bytes()[..]), "and on bytes");
    for needle in needles {
        assert!(!contains(&needle), "{:?}", String::from_utf8_lossy(&needle));
    }
}

async fn a_sealed_secret_opens_at_its_place_and_under_its_key_only(kind: Kind) {
    let mut world = World::new(kind).await;
    let second = endpoint_secret(&world, &SigningSecret::generate());
    world.put(&[Entry::EndpointSecret(second)]).await.unwrap();
    assert_eq!(world.database.load(0).await.unwrap().endpoint_secrets.len(), 2);

    let mut settings = world.database.settings.clone();
    settings.master_key = Arc::new(MasterKey::generate());
    let stranger = world.database.again(&settings).await;
    let refused = stranger.load(0).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Corrupt(what) if what.contains("does not open")), "{refused:?}");
    stranger.close().await;

    let swap = "UPDATE endpoint_secrets SET sealed = (SELECT o.sealed FROM endpoint_secrets o WHERE o.id <> endpoint_secrets.id)";
    assert_eq!(world.database.raw().await.execute(swap).await.unwrap(), 2);
    let refused = world.database.load(0).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Corrupt(what) if what.contains("endpoint_secrets esec_")), "{refused:?}");
}

async fn a_delta_brings_what_is_newer(kind: Kind) {
    let mut world = World::new(kind).await;
    let known = world.catalog.version();
    assert_eq!(world.database.configuration_version().await.unwrap(), known);
    let nothing = world.database.load(known).await.unwrap();
    assert_eq!((nothing.version, nothing.affiliates.len(), nothing.mac_keys.len()), (known, 0, 0));

    world.affiliate.status = Status::Inactive;
    let other = Affiliate { id: AffiliateId::new(world.now()), ..world.affiliate.clone() };
    let entries = [Entry::Affiliate(world.affiliate.clone()), Entry::Affiliate(other.clone())];
    assert_eq!(world.database.put(&entries).await.unwrap(), known + 1);
    let delta = world.database.load(known).await.unwrap();
    assert_eq!(shown(&delta.affiliates), shown(&[&world.affiliate, &other]));
    let others = [delta.operators.len(), delta.goals.len(), delta.endpoints.len(), delta.endpoint_secrets.len()];
    assert_eq!((delta.version, others), (known + 1, [0; 4]));

    // A snapshot that grew by deltas is the same as one that was read at once.
    world.reload().await;
    let fresh = Catalog::default().with(world.database.load(0).await.unwrap());
    assert_eq!(world.catalog.version(), fresh.version());
    assert_eq!(world.catalog.affiliate(world.affiliate.id).unwrap().status, Status::Inactive);
    assert_eq!(fresh.affiliate(world.affiliate.id).unwrap().status, Status::Inactive);
}

async fn later_rows_replace_earlier_ones_and_keep_their_owner(kind: Kind) {
    let mut world = World::new(kind).await;
    world.program.destination_url = "https://new.example/{click_id}".to_owned();
    world.lead.min_click_seconds = 5;
    world.operator_key.1.revoked_at = Some(world.now());
    let entries = [
        Entry::Program(world.program.clone()),
        Entry::Goal(world.lead.clone()),
        Entry::Key(world.operator_key.1.clone()),
    ];
    world.put(&entries).await.unwrap();
    assert_eq!(world.catalog.program(world.program.id).unwrap().destination_url, world.program.destination_url);
    assert_eq!(world.catalog.goal(world.program.id, "lead").unwrap().min_click_seconds, 5);
    assert!(world.catalog.key(world.operator_key.0.public_id()).unwrap().revoked_at.is_some());

    let other = operator(world.now(), "Other");
    world.put(&[Entry::Operator(other.clone())]).await.unwrap();
    let mut stolen = world.source.clone();
    stolen.operator_id = other.id;
    let mut renamed = world.lead.clone();
    renamed.name = "signup".to_owned();
    let mut raised = world.operator_key.1.clone();
    raised.role = Role::Admin;
    let mut rerouted = world.link.clone();
    rerouted.code = postback::domain::click::LinkCode::generate();
    let changed = PlanVersionId::new(world.now());
    let same_id = fixed(world.now(), world.plan.id, &[("lead", "500")]);
    let version = postback::domain::plan::PlanVersion { id: world.plan_version.id, ..same_id };
    let refused = [
        Entry::Source(stolen),
        Entry::Goal(renamed),
        Entry::Key(raised),
        Entry::Link(rerouted),
        Entry::PlanVersion { version, created_at: world.now() },
        Entry::MacKey { key: world.mac_key.clone(), created_at: world.now() },
    ];
    for entry in refused {
        let answer = world.database.put(std::slice::from_ref(&entry)).await;
        assert!(matches!(answer, Err(StoreError::Exists)), "{entry:?}: {answer:?}");
    }
    assert_ne!(changed, world.plan_version.id);
    assert_eq!(world.database.configuration_version().await.unwrap(), world.catalog.version());
}

async fn what_is_taken_or_refers_to_nothing_is_refused_as_a_whole(kind: Kind) {
    let world = World::new(kind).await;
    let version = world.catalog.version();
    let now = world.now();
    let affiliate = Affiliate { id: AffiliateId::new(now), ..world.affiliate.clone() };
    let mut same_code = link(now, world.program.id, affiliate.id);
    same_code.code = world.link.code;
    let same_name = goal(now, world.program.id, "lead", world.lead.policy, world.lead.default_status);
    let nobodys = source(now, operator(now, "Nobody").id);
    let with = |entry| [Entry::Affiliate(affiliate.clone()), entry];
    let cases = [(Entry::Link(same_code), true), (Entry::Goal(same_name), true), (Entry::Source(nobodys), false)];
    for (entry, taken) in cases {
        let error = world.database.put(&with(entry.clone())).await.unwrap_err();
        let fits = if taken { matches!(error, StoreError::Exists) } else { matches!(error, StoreError::NotFound(_)) };
        assert!(fits, "{entry:?}: {error:?}");
    }
    let after = world.database.load(0).await.unwrap();
    assert_eq!((after.version, after.affiliates.len()), (version, 1), "nothing of the three was written");
}

async fn versions_rise_one_by_one_under_many_writers(kind: Kind) {
    let world = World::new(kind).await;
    let before = world.catalog.version();
    let writes = (0..16).map(|number| {
        let store = world.store();
        let row =
            Affiliate { id: AffiliateId::new(world.now()), name: format!("a{number}"), ..world.affiliate.clone() };
        tokio::spawn(async move { store.put(&[Entry::Affiliate(row)]).await.unwrap() })
    });
    let mut versions = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        versions.push(write.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (before + 1..=before + 16).collect::<Vec<_>>());
    assert_eq!(world.database.load(before).await.unwrap().affiliates.len(), 16);
}
