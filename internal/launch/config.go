package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is a cluster file.
type Config struct {
	Name     string   `yaml:"cluster_name"`
	Provider Provider `yaml:"provider"`
	Auth     Auth     `yaml:"auth"`
	// Port is where the head listens; 6380 if 0.
	Port int `yaml:"port"`
	// Head and Worker are what nodes are started with.
	Head   Kind `yaml:"head"`
	Worker Kind `yaml:"worker"`
	// Shell commands before a node is started: of every machine, then of its kind.
	Setup       []string `yaml:"setup_commands"`
	HeadSetup   []string `yaml:"head_setup_commands"`
	WorkerSetup []string `yaml:"worker_setup_commands"`

	// What Ray has and Weft does not need; see [Config.Notices].
	Foreign map[string]any `yaml:",inline"`
}

// Provider says which machines there are.
type Provider struct {
	Type    string   `yaml:"type"` // local
	Head    string   `yaml:"head_ip"`
	Workers []string `yaml:"worker_ips"`
	// External is where ssh reaches the head, if that is not Head.
	External string `yaml:"external_head_ip"`
}

// Auth says how they are reached. Whatever is missing is as ssh's own
// configuration has it.
type Auth struct {
	User  string `yaml:"ssh_user"`
	Key   string `yaml:"ssh_private_key"` // a file
	Port  int    `yaml:"ssh_port"`
	Proxy string `yaml:"ssh_proxy_command"`
	// Options are ssh's own, such as StrictHostKeyChecking=accept-new.
	Options []string `yaml:"ssh_options"`
}

// Kind is what nodes of one kind have.
type Kind struct {
	CPUs       float64            `yaml:"cpus"`
	Memory     string             `yaml:"memory"`      // such as 8GiB
	StoreBytes string             `yaml:"store_bytes"` // likewise
	Resources  map[string]float64 `yaml:"resources"`
	Labels     map[string]string  `yaml:"labels"`
	Python     string             `yaml:"python"` // for drivers from elsewhere, and their tasks
}

// needless are keys of Ray's files, and why Weft does nothing about them.
var needless = map[string]string{
	"head_start_ray_commands":   "weft starts its nodes itself; what they have goes under head",
	"worker_start_ray_commands": "weft starts its nodes itself; what they have goes under worker",
	"max_workers":               "there are as many workers as worker_ips",
	"min_workers":               "there are as many workers as worker_ips",
	"upscaling_speed":           "the machines are those of provider",
	"idle_timeout_minutes":      "the machines are those of provider",
	"initialization_commands":   "use setup_commands",
}

// names are what a cluster may be called: it is a folder's name.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$`)

// Read reads a cluster file.
func Read(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads a cluster file's text.
func Parse(data []byte) (*Config, error) {
	c := &Config{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(c); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if c.Port == 0 {
		c.Port = 6380
	}
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(c.Auth.Key, "~/") {
		c.Auth.Key = filepath.Join(home, c.Auth.Key[2:])
	}
	return c, c.check()
}

// check says everything that is wrong.
func (c *Config) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !names.MatchString(c.Name) {
		wrong("cluster_name %q: want up to 40 letters, digits, dots, dashes and underscores", c.Name)
	}
	if c.Provider.Type != "local" {
		wrong("provider.type %q: want local, machines that there are already", c.Provider.Type)
	}
	if c.Provider.Head == "" {
		wrong("provider.head_ip is missing: the address of the machine that the cluster starts on")
	}
	seen := map[string]bool{c.Provider.Head: true}
	for _, host := range c.Provider.Workers {
		if host == "" || seen[host] {
			wrong("provider.worker_ips: %q is empty or there twice; a machine has one node of a cluster", host)
		}
		seen[host] = true
	}
	for host := range seen {
		if strings.HasPrefix(host, "-") || strings.ContainsAny(host, " \t\n@") {
			wrong("%q is no address", host)
		}
	}
	if c.Port < 0 || c.Port > 65535 || c.Auth.Port < 0 || c.Auth.Port > 65535 {
		wrong("a port is between 1 and 65535")
	}
	for _, key := range slices.Sorted(maps.Keys(c.Foreign)) {
		if needless[key] == "" {
			wrong("there is no key %q", key)
		}
	}
	return errors.Join(errs...)
}

// Notices says which keys are without effect, and why.
func (c *Config) Notices() (notices []string) {
	for _, key := range slices.Sorted(maps.Keys(c.Foreign)) {
		notices = append(notices, fmt.Sprintf("%s is without effect: %s", key, needless[key]))
	}
	return notices
}

// machine is one that is to have a node.
type machine struct {
	host    string // where ssh reaches it
	address string // where nodes reach it
	head    bool
	kind    Kind
	setup   []string
}

// machines are all, the head's first.
func (c *Config) machines() []machine {
	all := []machine{{c.Provider.Head, c.Provider.Head, true, c.Head, slices.Concat(c.Setup, c.HeadSetup)}}
	if c.Provider.External != "" {
		all[0].host = c.Provider.External
	}
	for _, host := range c.Provider.Workers {
		all = append(all, machine{host, host, false, c.Worker, slices.Concat(c.Setup, c.WorkerSetup)})
	}
	return all
}

// headAddress is where nodes and drivers reach the head.
func (c *Config) headAddress() string { return net.JoinHostPort(c.Provider.Head, strconv.Itoa(c.Port)) }
