// One IChatClient over two models: a small one in this process, and an engine elsewhere that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp's server, api.deepseek.com).
//   dotnet run --project samples/HybridRouting -- --Remote:Endpoint=http://localhost:8000/v1 --Remote:Model=deepseek-ai/DeepSeek-V3.1 --Remote:Key=$KEY --Question="…"
// Nothing but configuration says where answers come from; code that has an IChatClient does not know.
using System.ClientModel;
using System.ClientModel.Primitives;
using DeepSeek.Extensions;
using HybridRouting;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenAI;

HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);
IConfigurationSection remote = builder.Configuration.GetSection("Remote");

builder.Services.AddKeyedDeepSeekChatClient("local", o =>
{
    o.Path = "samples/models/tiny-reasoner";
    builder.Configuration.GetSection("Local").Bind(o);
});
builder.Services.AddKeyedSingleton<IChatClient>("remote", (_, _) => new OpenAIClient(new ApiKeyCredential(remote["Key"] ?? "none"), new OpenAIClientOptions
{
    Endpoint = new Uri(remote["Endpoint"] ?? "https://api.deepseek.com/v1"),
    NetworkTimeout = TimeSpan.FromSeconds(remote.GetValue("TimeoutSeconds", 100)),
    RetryPolicy = new ClientRetryPolicy(maxRetries: 1),
}).GetChatClient(remote["Model"] ?? "deepseek-chat").AsIChatClient());
builder.Services.AddChatClient(services => new HybridChatClient(services.GetRequiredKeyedService<IChatClient>("local"), services.GetRequiredKeyedService<IChatClient>("remote"),
    builder.Configuration.GetValue("LocalMaxCharacters", 200)));

using IHost host = builder.Build();
IChatClient client = host.Services.GetRequiredService<IChatClient>();
ChatResponse response = await client.GetResponseAsync(builder.Configuration["Question"] ?? "What is 348 + 265?", new ChatOptions { Temperature = 0, MaxOutputTokens = 400 });
Console.WriteLine($"{response.ModelId}: {response.Text}");
