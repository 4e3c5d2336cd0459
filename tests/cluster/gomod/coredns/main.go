// CoreDNS with the plugins that the node's Corefile uses and no other. All of CoreDNS brings the libraries of three
// clouds, Datadog and Nomad with it, which take longer to compile than everything that is used of it.
package main

import (
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	coremain.Run()
}
