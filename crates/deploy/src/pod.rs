//! A pod as its owner describes it.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::Value;

use crate::Object;

/// A pod's template.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    pub owner: &'a Object,
    pub(crate) template: &'a Value,
}

/// One of its containers.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a>(pub &'a Value);

impl<'a> Pod<'a> {
    pub fn at(&self, pointer: &str) -> &'a Value {
        self.template.pointer(pointer).unwrap_or(&Value::Null)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.at("/metadata/labels").as_object().into_iter().flatten();
        labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Whether a selector's `matchLabels` fit.
    pub fn fits(&self, selector: &BTreeMap<String, String>) -> bool {
        let labels = self.labels();
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    pub fn containers(&self) -> Vec<Container<'a>> {
        let lists = ["/spec/initContainers", "/spec/containers"].map(|list| self.at(list).as_array());
        lists.into_iter().flatten().flatten().map(Container).collect()
    }

    /// The number behind a port's name or, if it is one already, the number itself.
    pub fn port(&self, port: &Value) -> Option<u64> {
        let mut ports = self.containers().into_iter().flat_map(|container| container.list("ports"));
        ports.find(|own| own["name"] == *port || own["containerPort"] == *port)?["containerPort"].as_u64()
    }
}

impl<'a> Container<'a> {
    pub fn name(&self) -> &'a str {
        self.0["name"].as_str().unwrap_or_default()
    }

    pub fn image(&self) -> &'a str {
        self.0["image"].as_str().unwrap_or_default()
    }

    pub fn list(&self, key: &str) -> &'a [Value] {
        self.0[key].as_array().map_or(&[], Vec::as_slice)
    }

    pub fn at(&self, pointer: &str) -> &'a Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Its environment, with configuration and secrets looked up among `objects`.
    ///
    /// # Panics
    /// When one is missing.
    pub fn environment(&self, objects: &[Object]) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for source in self.list("envFrom") {
            for (kind, key) in [("ConfigMap", "configMapRef"), ("Secret", "secretRef")] {
                if let Some(name) = source[key]["name"].as_str() {
                    environment.extend(values(objects, kind, name));
                }
            }
        }
        for variable in self.list("env") {
            let name = variable["name"].as_str().expect("a name").to_owned();
            let mut value = variable["value"].as_str().unwrap_or_default().to_owned();
            for (kind, from) in [("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")] {
                let from = &variable["valueFrom"][from];
                if let (Some(object), Some(key)) = (from["name"].as_str(), from["key"].as_str()) {
                    let values = values(objects, kind, object);
                    value = values.get(key).unwrap_or_else(|| panic!("{kind}/{object} has no {key}")).clone();
                }
            }
            environment.insert(name, value);
        }
        environment
    }
}

fn values(objects: &[Object], kind: &str, name: &str) -> BTreeMap<String, String> {
    let found = objects.iter().find(|object| object.is(kind, name));
    let found = found.unwrap_or_else(|| panic!("there is no {kind}/{name}"));
    match kind {
        "Secret" => found.texts("/data").into_iter().map(|(key, value)| (key, decode(&value))).collect(),
        _ => found.texts("/data"),
    }
}

fn decode(value: &str) -> String {
    // Long ones are broken into lines.
    let value: String = value.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).expect("base64");
    String::from_utf8(bytes).expect("text")
}
