// Package launch brings up a cluster on machines that are reached over SSH, and
// takes it down again.
//
// A [Config] is read from a small YAML file. Its keys are those of Ray's cluster
// files, as far as they are about machines that there are already:
//
//	cluster_name: demo
//	provider:
//	  type: local
//	  head_ip: 10.0.0.1
//	  worker_ips: [10.0.0.2, 10.0.0.3]
//	auth:
//	  ssh_user: ubuntu
//	  ssh_private_key: ~/.ssh/id_ed25519
//	setup_commands:
//	  - pip install -r requirements.txt
//	worker:
//	  resources: {GPU: 1}
//	  labels: {zone: a}
//
// [Launcher.Up] copies the binary to each machine, unless it is there, runs the setup
// commands, starts the head, and has all others join it, several at a time. It
// can be repeated: machines whose node runs are left alone. [Launcher.Down] ends all
// nodes and removes their files.
//
// Everything on a machine is in ~/.weft: the binary in bin, by its content hash,
// and a node's files in a folder with the cluster's name. Commands go through
// [SSH], which is the user's own ssh, with whatever its configuration says of
// keys, jump hosts and known hosts.
package launch
