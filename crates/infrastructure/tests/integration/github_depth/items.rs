//! Items by themselves: ids, single reads, and proof that one is gone.

use std::collections::BTreeSet;

use application::ports::{ItemAddress, RawObject};
use domain::StreamName;

use super::*;

fn address(key: &str) -> ItemAddress {
    ItemAddress { key: Some(key.into()), ..ItemAddress::default() }
}

#[tokio::test]
async fn the_ids_of_all_items_are_listed() {
    let repository = simulator::generate::repository(REPOSITORY, 7, 260);
    let all = repository.issue_count() + repository.pull_request_count();
    let config = SimulatorConfig { repositories: vec![repository], ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let connection = connection(&simulator.url(), token(TOKEN), json!({"repositories": [REPOSITORY]}));
    let project = github().list_projects(&connection).await.unwrap().remove(0);
    let (mut ids, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = github().list_ids(&connection, &project, cursor.as_ref()).await.unwrap();
        assert!(page.ids.iter().all(|id| id.updated_at.is_some()));
        ids.extend(page.ids.into_iter().map(|id| id.source_id));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn an_item_read_by_itself_is_complete_and_mapped_anew_alike() {
    let (_simulator, connection) = simulated().await;
    let addresses: Vec<ItemAddress> =
        (1..=40).map(|number| address(&format!("{REPOSITORY}#{number}"))).collect();
    let fetched = github().fetch_items(&connection, &addresses).await.unwrap();
    let records = &fetched.records;
    assert!(fetched.invisible.is_empty() && records.unmapped.is_empty());
    assert_eq!((records.items.len(), records.details_done.len()), (40, 40));
    assert_eq!((records.comments_of.len(), records.links_of.len()), (40, 40));
    let pulls = records.items.iter().filter(|item| item.type_original == "pull_request").count();
    assert_eq!(records.pull_requests.len(), pulls);
    // Every comment of the lists is here as well, and nothing beside them.
    let project = github().list_projects(&connection).await.unwrap().remove(0);
    let mut listed = BTreeSet::new();
    for stream in ["comments", "review_comments"] {
        let stream = StreamName::new(stream);
        let mut cursor = None;
        loop {
            let request = application::ports::PageRequest {
                stream: &stream,
                project: Some(&project),
                items: &[],
                cursor: cursor.as_ref(),
                since: None,
                validator: None,
            };
            let page = github().fetch_page(&connection, request).await.unwrap();
            listed.extend(
                page.records
                    .comments
                    .iter()
                    .map(|c| (c.kind, c.source_id.clone(), c.body.clone(), c.updated_at)),
            );
            let Some(next) = page.next else { break };
            cursor = Some(next);
        }
    }
    let read: BTreeSet<_> = records
        .comments
        .iter()
        .map(|c| (c.kind, c.source_id.clone(), c.body.clone(), c.updated_at))
        .collect();
    assert_eq!(read, listed);
    let raw: Vec<RawObject> = records
        .items
        .iter()
        .map(|item| RawObject {
            stream: StreamName::new("issues"),
            source_id: item.source_id.clone(),
            payload: item.raw.clone(),
        })
        .collect();
    let mapped = github().map_raw(&connection.settings, &connection.mappings, &raw);
    let brief = |item: &domain::record::ItemRecord| {
        (
            item.source_id.clone(),
            item.source_key.clone(),
            item.status_norm,
            item.type_norm,
            item.priority_norm,
        )
    };
    assert_eq!(
        mapped.items.iter().map(brief).collect::<Vec<_>>(),
        records.items.iter().map(brief).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn what_is_gone_is_proved_and_what_is_hidden_is_not_gone() {
    let (simulator, connection) = simulated().await;
    let known = github()
        .fetch_items(
            &connection,
            &(1..=40).map(|n| address(&format!("{REPOSITORY}#{n}"))).collect::<Vec<_>>(),
        )
        .await
        .unwrap();
    let issues: Vec<_> =
        known.records.items.iter().filter(|item| item.type_original != "pull_request").take(3).collect();
    let number = |at: usize| issues[at].source_key.rsplit_once('#').unwrap().1.parse::<u64>().unwrap();
    simulator.control().delete_issue(REPOSITORY, number(0)).unwrap();
    simulator.control().transfer_issue(REPOSITORY, number(1), "acme/other").unwrap();
    let stranger = ItemAddress { source_id: Some("1".into()), ..address(&issues[2].source_key) };
    let by_ref = ItemAddress { ref_key: Some(issues[2].ref_key.clone()), ..ItemAddress::default() };
    let by_id = ItemAddress { source_id: Some(issues[2].source_id.clone()), ..ItemAddress::default() };
    let batch = [
        address(&issues[0].source_key),
        address(&issues[1].source_key),
        address(&format!("{REPOSITORY}#99999")),
        address("nobody/nothing#1"),
        stranger,
        by_id,
        by_ref,
    ];
    let fetched = github().fetch_items(&connection, &batch).await.unwrap();
    let gone: Vec<_> = fetched.records.gone.iter().map(|g| (g.item_ref_key.clone(), g.reason)).collect();
    assert_eq!(
        gone,
        [
            (issues[0].ref_key.clone(), "deleted"),
            (issues[1].ref_key.clone(), "transferred"),
            (format!("{}#99999", issues[0].ref_key.split('#').next().unwrap()), "deleted")
        ]
    );
    assert_eq!(fetched.invisible.len(), 3, "{:?}", fetched.invisible);
    assert_eq!(fetched.records.items.len(), 1);

    // A token that lost the repository proves nothing.
    simulator.control().grant(TokenGrant {
        token: TOKEN.into(),
        login: "ann".into(),
        repositories: Some(vec!["acme/other".into()]),
    });
    let fetched = github().fetch_items(&connection, &batch[..1]).await.unwrap();
    assert_eq!((fetched.records.gone.len(), fetched.invisible.len()), (0, 1));
}

#[tokio::test]
async fn dependencies_are_read_from_both_ends_and_forgotten_when_they_end() {
    let (simulator, connection) = simulated().await;
    let known = github()
        .fetch_items(
            &connection,
            &(1..=40).map(|n| address(&format!("{REPOSITORY}#{n}"))).collect::<Vec<_>>(),
        )
        .await
        .unwrap();
    let issues: Vec<_> =
        known.records.items.iter().filter(|item| item.type_original != "pull_request").take(2).collect();
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let client = EgressClient::new(policy).unwrap();
    let send = async |method: http::Method, path: String, body: Option<Value>| {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let url = Url::parse(&format!("{}{path}", simulator.url())).unwrap();
        let answer =
            client.send(method, &url, headers, body.map(|body| body.to_string().into())).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {}", answer.status);
    };
    let number = issues[0].source_key.rsplit_once('#').unwrap().1;
    let path = format!("/repos/{REPOSITORY}/issues/{number}/dependencies/blocked_by");
    let id: u64 = issues[1].source_id.parse().unwrap();
    send(http::Method::POST, path.clone(), Some(json!({"issue_id": id}))).await;
    let both = [address(&issues[0].source_key), address(&issues[1].source_key)];
    let links = async || {
        let records = github().fetch_items(&connection, &both).await.unwrap().records;
        assert_eq!(records.links_of.len(), 2);
        let links = records.links.iter().filter(|link| link.type_norm.starts_with("block"));
        links
            .map(|link| (link.item_ref_key.clone(), link.type_norm, link.to_ref_key.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        links().await,
        [
            (issues[0].ref_key.clone(), "blocked_by", Some(issues[1].ref_key.clone())),
            (issues[1].ref_key.clone(), "blocks", Some(issues[0].ref_key.clone()))
        ]
    );
    send(http::Method::DELETE, format!("{path}/{id}"), None).await;
    assert!(links().await.is_empty());
}
