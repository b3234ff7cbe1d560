// Command vcsim runs govmomi's vCenter simulator for Weft's tests, with faults that are set over standard input.
//
// It prints one line of JSON ({"url": ...}) when it is up and ends when standard input ends. Each line of standard
// input is a JSON command, answered with one line of JSON:
//
//	{"fault": {"method": "PowerOnVM_Task", "fault": "ResourceInUse", "count": 1}}
//	{"wire": {"method": "CloneVM_Task", "count": 1, "loseReply": true}}
//	{"wire": {"method": "RetrievePropertiesEx", "delayMs": 5000}}
//	{"clear": true}
//
// With -complete it does more than the simulator alone: README.md says what.
//
// With -types it prints govmomi's definitions of the vim25 types and methods whose names stand on standard input,
// one a line: the independent measure of Weft's own table.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type command struct {
	Fault *struct {
		Method string `json:"method"`
		Fault  string `json:"fault"`
		Count  int    `json:"count"`
		Delay  int    `json:"delayMs"`
	} `json:"fault"`
	Wire  *wireRule `json:"wire"`
	Clear bool      `json:"clear"`
}

func main() {
	printTypes := flag.Bool("types", false, "print type definitions")
	clusters := flag.Int("clusters", 1, "clusters")
	hosts := flag.Int("hosts", 3, "hosts in each cluster")
	machines := flag.Int("machines", 4, "virtual machines in each cluster")
	portGroups := flag.Int("port-groups", 2, "distributed port groups")
	isComplete := flag.Bool("complete", false, "keep ports of distributed switches, and notes of clones")
	user := flag.String("user", "weft", "user")
	password := flag.String("password", "secret", "password")
	flag.Parse()
	if *printTypes {
		definitions()
		return
	}

	model := simulator.VPX()
	model.Cluster = *clusters
	model.ClusterHost = *hosts
	model.Host = 0
	model.Machine = min(*machines, fewMachines)
	model.Portgroup = *portGroups
	if err := model.Create(); err != nil {
		fail(err)
	}
	if more := *machines - fewMachines; more > 0 {
		if err := addMachines(model, more); err != nil {
			fail(err)
		}
	}
	model.Service.RegisterEndpoints = true
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, *password)}
	if *isComplete {
		complete(model.Map())
	}
	server := model.Service.NewServer()
	way := &wire{inner: server.Config.Handler}
	server.Config.Handler = way
	fmt.Printf("{\"url\":%q}\n", server.URL.Scheme+"://"+server.URL.Host)

	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var order command
		err := json.Unmarshal(input.Bytes(), &order)
		if err == nil {
			err = obey(model, way, order)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		fmt.Printf("{\"error\":%q}\n", text)
	}
	server.Close()
	model.Remove()
}

func obey(model *simulator.Model, way *wire, order command) error {
	if order.Clear {
		way.clear()
		model.Service.ClearFaultRules()
	}
	if order.Wire != nil {
		way.add(*order.Wire)
	}
	if order.Fault == nil {
		return nil
	}
	kind, ok := types.TypeFunc()(order.Fault.Fault)
	if !ok {
		return fmt.Errorf("there is no fault %s", order.Fault.Fault)
	}
	fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault)
	if !ok {
		return fmt.Errorf("%s is no fault", order.Fault.Fault)
	}
	model.Service.AddFaultRule(&simulator.FaultInjectionRule{
		MethodName: order.Fault.Method, ObjectType: "*", ObjectName: "*", Probability: 1,
		FaultType: simulator.FaultTypeCustom, Fault: fault, Message: "injected",
		MaxCount: order.Fault.Count, Delay: order.Fault.Delay, Enabled: true,
	})
	return nil
}

type field struct {
	Name     string `json:"name"`
	IsArray  bool   `json:"isArray"`
	Optional bool   `json:"isOptional"`
}

// definitions answers each name on standard input with its fields in wire order, inherited ones first.
func definitions() {
	lookup := types.TypeFunc()
	output := map[string][]field{}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		name := strings.TrimSpace(input.Text())
		if kind, ok := lookup(name); ok {
			output[name] = fieldsOf(kind)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(output); err != nil {
		fail(err)
	}
}

func fieldsOf(kind reflect.Type) []field {
	list := []field{}
	for index := range kind.NumField() {
		one := kind.Field(index)
		if one.Anonymous {
			list = append(list, fieldsOf(one.Type)...)
			continue
		}
		parts := strings.Split(one.Tag.Get("xml"), ",")
		if parts[0] == "_this" || parts[0] == "" {
			continue
		}
		isBytes := one.Type.Kind() == reflect.Slice && one.Type.Elem().Kind() == reflect.Uint8
		isOptional := one.Type.Kind() == reflect.Pointer
		for _, part := range parts[1:] {
			isOptional = isOptional || part == "omitempty"
		}
		list = append(list, field{parts[0], one.Type.Kind() == reflect.Slice && !isBytes, isOptional})
	}
	return list
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
