package launch

import (
	"strings"
	"testing"
)

// Everything that is wrong with a file is told at once.
func TestClusterFile(t *testing.T) {
	for text, want := range map[string][]string{
		"cluster_name: a b\n":        {"cluster_name", "provider.type", "provider.head_ip"},
		"cluster_name: [a\n":         {"line 1"},
		"provider: {worker_ip: a}\n": {"worker_ip"},
		"":                           {"empty"},
		"nodes: 3\n":                 {`there is no key "nodes"`},
		"cluster_name: a\nprovider: {type: local, head_ip: h, worker_ips: [w, w]}\n":   {`"w" is empty or there twice`},
		"cluster_name: a\nprovider: {type: local, head_ip: -oProxyCommand=evil}\n":     {"is no address"},
		"cluster_name: a\nprovider: {type: local, head_ip: h}\nworker: {cpus: many}\n": {"line 3"},
	} {
		_, err := Parse([]byte(text))
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: no %q in %v", text, part, err)
			}
		}
	}
}
