// Package manifests_test checks the manifests of this folder without a cluster. It is a module of its own: nothing else
// needs the types of Kubernetes.
package manifests_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// read decodes a file as the API server does with strict validation: a field that the type does not have, a field that
// is there twice and a value of another type are errors.
func read[T any](t *testing.T, file, apiVersion, kind string) (object T) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(text, &object), file)
	var of meta.TypeMeta
	require.NoError(t, yaml.Unmarshal(text, &of))
	require.Equal(t, meta.TypeMeta{Kind: kind, APIVersion: apiVersion}, of)
	return object
}

func deployment(t *testing.T) apps.Deployment {
	return read[apps.Deployment](t, "deployment.yaml", "apps/v1", "Deployment")
}

func container(t *testing.T) core.Container {
	t.Helper()
	all := deployment(t).Spec.Template.Spec.Containers
	require.Len(t, all, 1)
	return all[0]
}

func TestEveryManifestIsOfItsTypeAndSelectsThePods(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	require.NoError(t, err)
	require.Equal(t, []string{"deployment.yaml", "poddisruptionbudget.yaml", "service.yaml"}, files)

	d := deployment(t)
	pods := labels.Set(d.Spec.Template.Labels)
	budget := read[policy.PodDisruptionBudget](t, "poddisruptionbudget.yaml", "policy/v1", "PodDisruptionBudget")
	for name, selector := range map[string]*meta.LabelSelector{"Deployment": d.Spec.Selector, "PodDisruptionBudget": budget.Spec.Selector,
		"topologySpreadConstraints": d.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector} {
		chosen, err := meta.LabelSelectorAsSelector(selector)
		require.NoError(t, err)
		require.True(t, !chosen.Empty() && chosen.Matches(pods), "%s selects no pod of the Deployment", name)
	}
	require.Less(t, budget.Spec.MaxUnavailable.IntValue(), int(*d.Spec.Replicas), "somebody is left")
	require.Positive(t, budget.Spec.MaxUnavailable.IntValue(), "or no node could ever be drained")

	service := read[core.Service](t, "service.yaml", "v1", "Service")
	require.NotEmpty(t, service.Spec.Selector)
	require.True(t, labels.SelectorFromSet(service.Spec.Selector).Matches(pods))
	require.Len(t, service.Spec.Ports, 1)
	require.Equal(t, container(t).Ports[0].Name, service.Spec.Ports[0].TargetPort.StrVal)
}

// A mistake in a manifest is found by decoding it.
func TestAFieldThatDoesNotExistIsFound(t *testing.T) {
	text, err := os.ReadFile("deployment.yaml")
	require.NoError(t, err)
	for right, wrong := range map[string]string{"periodSeconds: 10": "periodSecond: 10", "replicas: 3": "replicas: three",
		"maxUnavailable: 0": "maxUnavailable: 0, maxUnavailable: 1", "containerPort: 8080": "port: 8080"} {
		require.Contains(t, string(text), right)
		var d apps.Deployment
		require.Error(t, yaml.UnmarshalStrict([]byte(strings.Replace(string(text), right, wrong, 1)), &d), wrong)
	}
}

func TestProbesAskForThePortThatIsThere(t *testing.T) {
	c := container(t)
	require.Equal(t, int32(8080), c.Ports[0].ContainerPort, "the program's default")
	for _, p := range []*core.Probe{c.LivenessProbe, c.ReadinessProbe} {
		require.Equal(t, c.Ports[0].Name, p.HTTPGet.Port.StrVal)
	}
	require.Equal(t, "/livez", c.LivenessProbe.HTTPGet.Path)
	require.Equal(t, "/readyz", c.ReadinessProbe.HTTPGet.Path)
}

// The kubelet kills what runs longer, and then nobody leads until the session has expired.
func TestThereIsTimeToStopInOrder(t *testing.T) {
	d, c := deployment(t), container(t)
	var grace time.Duration
	for _, arg := range c.Args {
		if value, found := strings.CutPrefix(arg, "-grace="); found {
			var err error
			grace, err = time.ParseDuration(value)
			require.NoError(t, err)
		}
	}
	require.Positive(t, grace)
	sleep := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	limit := time.Duration(*d.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	require.Positive(t, sleep)
	require.GreaterOrEqual(t, limit, sleep+grace+3*time.Second)
}

// What a rolling update with one hand-over needs: see the tests of the program.
func TestANewPodComesBeforeAnOldOneGoes(t *testing.T) {
	d := deployment(t)
	require.Equal(t, apps.RollingUpdateDeploymentStrategyType, d.Spec.Strategy.Type)
	require.Equal(t, 0, d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
	require.Positive(t, d.Spec.Strategy.RollingUpdate.MaxSurge.IntValue())
	require.Greater(t, *d.Spec.Replicas, int32(1), "somebody waits in line")
}

// What the program reads is there, and has a name that the program knows.
func TestEveryVariableOfThePodIsRead(t *testing.T) {
	program, err := os.ReadFile("../app/main.go")
	require.NoError(t, err)
	fields := map[string]string{}
	for _, v := range container(t).Env {
		require.Contains(t, string(program), `"`+v.Name+`"`)
		if v.ValueFrom != nil {
			fields[v.Name] = v.ValueFrom.FieldRef.FieldPath
		}
	}
	require.Equal(t, map[string]string{"POD_NAME": "metadata.name", "POD_IP": "status.podIP",
		"POD_REVISION": "metadata.labels['" + apps.DefaultDeploymentUniqueLabelKey + "']"}, fields)
	require.Equal(t, 3, strings.Count(string(program), `os.Getenv("POD_`))
}
