import java.nio.file.Path;
import java.util.Map;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/** One node of Elasticsearch for tests: `java -cp 'lib/*:.' Elastic HOME DATA HTTP_PORT TRANSPORT_PORT [CONFIG NAME=VALUE…]`. Its modules lie in HOME. */
public class Elastic {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Settings.Builder builder = Settings.builder()
            .put("cluster.name", "waybill-tests").put("node.name", "tests")
            .put("path.home", home).put("path.data", arguments[1]).put("path.logs", arguments[1] + "/logs")
            .put("http.port", arguments[2]).put("transport.port", arguments[3])
            .put("network.host", "127.0.0.1").put("discovery.type", "single-node")
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (int at = 5; at < arguments.length; at++) {
            String[] setting = arguments[at].split("=", 2);
            builder.put(setting[0], setting[1]);
        }
        Settings settings = builder.build();
        Environment environment = new Environment(settings, arguments.length > 4 ? Path.of(arguments[4]) : home.resolve("config"));
        LogConfigurator.configureWithoutConfig(settings);
        PluginsLoader loader = PluginsLoader.createPluginsLoader(
            PluginsLoader.loadModulesBundles(environment.modulesDir()), PluginsLoader.loadPluginsBundles(environment.pluginsDir()), Map.of(), false);
        Node node = new Node(environment, loader);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { node.close(); } catch (Exception error) { error.printStackTrace(); } }));
        node.start();
        Thread.currentThread().join();  // its own threads do not keep the process alive
    }
}
