//! The description of the interface, made from the routes.

use super::page::Page;
use super::route::{Does, ROUTES, Route};
use hyper::StatusCode;
use serde_json::{Map, Value, json};

pub(super) fn page() -> Page {
    Page::json(StatusCode::OK, &document())
}

fn document() -> Value {
    let paths: Map<String, Value> = ROUTES.iter().map(|route| (route.path.to_owned(), operations(route))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sutra Cache",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Health, statistics and metrics of a cache shard. Entries are read and written over Redis's protocol.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "The server's password, if one is set." },
                "basic": { "type": "http", "scheme": "basic", "description": "User `default` or none, and the password." },
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": { "error": { "type": "string" } },
                },
            },
        },
    })
}

fn operations(route: &Route) -> Value {
    let name = route.path.trim_start_matches('/').replace(['/', '.'], "_");
    let content = |schema: Value| json!({ route.content_type: { "schema": schema } });
    let ok =
        if route.content_type == super::page::JSON { json!({ "type": "object" }) } else { json!({ "type": "string" }) };
    let refusal = |why: &str| {
        json!({
            "description": why,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        })
    };
    let mut responses = json!({
        "200": { "description": "The answer.", "content": content(ok) },
        "403": refusal("Asked under a name, or by a page, that may not."),
    });
    let waits = match route.does {
        Does::Show(_) => route.path == "/ready",
        Does::ShowServing(_) | Does::Change(_) => true,
    };
    if waits {
        responses["503"] = json!({
            "description": "Not yet (or no longer) serving.",
            "content": { "application/json": { "schema": { "type": "object" } } },
        });
    }
    match route.does {
        Does::Show(_) | Does::ShowServing(_) => {
            json!({ "get": { "operationId": name, "summary": route.summary, "responses": responses } })
        }
        Does::Change(_) => {
            responses["401"] = refusal("The password is missing or wrong.");
            let security = json!([{ "bearer": [] }, { "basic": [] }]);
            json!({ "post": { "operationId": name, "summary": route.summary, "security": security, "responses": responses } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_once_with_its_verb() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), ROUTES.len());
        for route in &ROUTES {
            let verb = if matches!(route.does, Does::Change(_)) { "post" } else { "get" };
            let operation = &paths[route.path][verb];
            assert_eq!(operation["summary"], route.summary, "{}", route.path);
            assert!(operation["responses"]["200"].is_object());
        }
        assert!(paths["/cache/clear"]["post"]["security"].is_array());
        assert!(paths["/ready"]["get"]["responses"]["503"].is_object());
    }
}
