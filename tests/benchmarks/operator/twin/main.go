// The twin is what Millrace's kernel does for the smallest kind, as one would write it in Go on controller-runtime:
// watch Widgets, queue, server-side apply of one ConfigMap each, one status. It writes nothing that is already so.
package main

import (
	"context"
	"flag"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	manager   = "twin"
	managedBy = "app.kubernetes.io/managed-by"
)

var version = schema.GroupVersion{Group: "test.millrace.dev", Version: "v1"}

type widgetSpec struct {
	Text string `json:"text,omitempty"`
}

type widgetStatus struct {
	Said               string `json:"said,omitempty"`
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
}

type widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              widgetSpec   `json:"spec,omitempty"`
	Status            widgetStatus `json:"status,omitempty"`
}

func (w *widget) DeepCopyObject() runtime.Object {
	copied := *w
	w.ObjectMeta.DeepCopyInto(&copied.ObjectMeta)
	return &copied
}

type widgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []widget `json:"items"`
}

func (l *widgetList) DeepCopyObject() runtime.Object {
	copied := widgetList{TypeMeta: l.TypeMeta, ListMeta: l.ListMeta, Items: make([]widget, len(l.Items))}
	for i := range l.Items {
		copied.Items[i] = *l.Items[i].DeepCopyObject().(*widget)
	}
	return &copied
}

type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var found widget
	if err := r.Get(ctx, request.NamespacedName, &found); err != nil || !found.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var child corev1.ConfigMap
	err := r.Get(ctx, request.NamespacedName, &child)
	if err != nil && !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	if err != nil || child.Data["text"] != found.Spec.Text {
		if err := r.Apply(ctx, childOf(&found), client.FieldOwner(manager), client.ForceOwnership); err != nil {
			return ctrl.Result{}, err
		}
	}
	status := widgetStatus{Said: found.Spec.Text, ObservedGeneration: found.Generation}
	if found.Status == status {
		return ctrl.Result{}, nil
	}
	said := &widget{
		TypeMeta:   metav1.TypeMeta{APIVersion: version.String(), Kind: "Widget"},
		ObjectMeta: metav1.ObjectMeta{Name: found.Name, Namespace: found.Namespace, UID: found.UID, ResourceVersion: found.ResourceVersion},
		Status:     status,
	}
	return ctrl.Result{}, r.Status().Patch(ctx, said, client.Apply, client.FieldOwner(manager), client.ForceOwnership)
}

func childOf(owner *widget) *corev1ac.ConfigMapApplyConfiguration {
	reference := metav1ac.OwnerReference().WithAPIVersion(version.String()).WithKind("Widget").
		WithName(owner.Name).WithUID(owner.UID).WithController(true).WithBlockOwnerDeletion(true)
	return corev1ac.ConfigMap(owner.Name, owner.Namespace).WithLabels(map[string]string{managedBy: manager}).
		WithOwnerReferences(reference).WithData(map[string]string{"text": owner.Spec.Text})
}

func main() {
	namespace := flag.String("namespace", "default", "the namespace to watch")
	qps := flag.Float64("qps", 20, "requests a second to the API server")
	burst := flag.Int("burst", 30, "requests at once to the API server")
	workers := flag.Int("workers", 8, "Widgets at a time")
	flag.Parse() // --kubeconfig is controller-runtime's own
	ctrl.SetLogger(zap.New(zap.UseDevMode(false)))
	if err := run(*namespace, float32(*qps), *burst, *workers); err != nil {
		ctrl.Log.Error(err, "the twin ended")
		os.Exit(1)
	}
}

func run(namespace string, qps float32, burst, workers int) error {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	scheme.AddKnownTypeWithName(version.WithKind("Widget"), &widget{})
	scheme.AddKnownTypeWithName(version.WithKind("WidgetList"), &widgetList{})
	metav1.AddToGroupVersion(scheme, version)
	config := ctrl.GetConfigOrDie()
	config.QPS, config.Burst = qps, burst
	options := ctrl.Options{
		Scheme:                  scheme,
		Metrics:                 server.Options{BindAddress: "0"},
		LeaderElection:          true,
		LeaderElectionID:        manager,
		LeaderElectionNamespace: namespace,
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{namespace: {}},
			DefaultTransform:  cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.ConfigMap{}: {Label: labels.SelectorFromSet(labels.Set{managedBy: manager})},
			},
		},
	}
	started, err := ctrl.NewManager(config, options)
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(started).For(&widget{}).Owns(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).Complete(&reconciler{started.GetClient()})
	if err != nil {
		return err
	}
	return started.Start(ctrl.SetupSignalHandler())
}
